"""What the cluster shows: endpoints in the API, and the rules in each node's kernel."""

from servicelab.observe.endpoints import Endpoint, endpoints_of
from servicelab.observe.node_rules import read_rules
from servicelab.observe.rules import Affinity, Backend, ServiceRule, UnreadableRules, rules_of

__all__ = [
    "Affinity",
    "Backend",
    "Endpoint",
    "ServiceRule",
    "UnreadableRules",
    "endpoints_of",
    "read_rules",
    "rules_of",
]

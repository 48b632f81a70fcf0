"""What the cluster shows: endpoints in the API, and the rules in each node's kernel."""

from servicelab.observe.endpoints import Endpoint, endpoints
from servicelab.observe.model import Backend, ServiceRule, rules_for
from servicelab.observe.node_rules import node_rules
from servicelab.observe.unreadable import RulesUnreadable

__all__ = [
    "Backend",
    "Endpoint",
    "RulesUnreadable",
    "ServiceRule",
    "endpoints",
    "node_rules",
    "rules_for",
]

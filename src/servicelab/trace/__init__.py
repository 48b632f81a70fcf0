"""One connection to a Service, followed through the rules of the node that translates it."""

from servicelab.trace.hop import Check, Hop, Way
from servicelab.trace.result import Backend, Trace
from servicelab.trace.tracing import trace

__all__ = ["Backend", "Check", "Hop", "Trace", "Way", "trace"]

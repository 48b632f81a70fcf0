"""A BGP router beside a cluster, which speakers in the cluster tell their routes."""

from __future__ import annotations

from servicelab.bgp.router import BgpRouter, bgp_router
from servicelab.bgp.table import Neighbour, Routes

__all__ = ["BgpRouter", "Neighbour", "Routes", "bgp_router"]

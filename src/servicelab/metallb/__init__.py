"""MetalLB, which gives Services of type LoadBalancer their addresses where no cloud does."""

from __future__ import annotations

from servicelab.metallb.addresses import AddressRange
from servicelab.metallb.metallb import MetalLB, metallb_in
from servicelab.metallb.neighbours import Neighbours
from servicelab.metallb.pools import Pool

__all__ = ["AddressRange", "MetalLB", "Neighbours", "Pool", "metallb_in"]

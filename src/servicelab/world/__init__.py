"""The world beside a cluster: what stands for the public DNS and for public web sites."""

from servicelab.world.sites import Sites, read_sites
from servicelab.world.world import World, world_beside

__all__ = ["Sites", "World", "read_sites", "world_beside"]

"""A lab: a namespace, the tutorial's manifests in it, and places to ask from."""

from servicelab.lab.faults import Fault
from servicelab.lab.lab import Lab
from servicelab.lab.plugin import shared
from servicelab.lab.pods import LabPod
from servicelab.lab.service import Service

__all__ = ["Fault", "Lab", "LabPod", "Service", "shared"]

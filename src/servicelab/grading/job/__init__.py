"""Grading a class inside a cluster that is there: as an Indexed Job, a part of the class a Pod.

from here                                    in the cluster
submissions ─ ConfigMaps ─────────────────▶  Pod 0, 1, 2 …: each grades its part
gradebook   ◀───────────── ConfigMaps ─────  a grade each, as soon as there is one
"""

from servicelab.grading.job.grading import grade_as_job
from servicelab.grading.job.manifest import Order

__all__ = ["Order", "grade_as_job"]

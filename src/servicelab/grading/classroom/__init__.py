"""A whole class: every submission of a folder graded, and what the class makes of its exercises."""

from servicelab.grading.classroom.gradebook import Gradebook
from servicelab.grading.classroom.running import grade_class
from servicelab.grading.classroom.shelf import Shelf
from servicelab.grading.classroom.submissions import HandedIn, Roll, collect

__all__ = ["Gradebook", "HandedIn", "Roll", "Shelf", "collect", "grade_class"]

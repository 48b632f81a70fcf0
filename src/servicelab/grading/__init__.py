"""Grading: exercises, untrusted manifests, and what a real cluster says about them."""

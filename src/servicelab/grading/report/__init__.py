"""How a grade is shown: on a terminal, and for those who read files."""

"""`python -m servicelab` is the `servicelab` command."""

from servicelab.cli import main

main()

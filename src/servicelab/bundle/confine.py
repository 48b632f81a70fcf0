"""Namespaces for commands that mount something, so that no mount is left whatever happens."""

from __future__ import annotations

# Mounts end with the last process in the namespace.
OWN_MOUNTS = ("unshare", "--mount", "--propagation=private")
# And the last process in it ends with the first.
OWN_PROCESSES = (*OWN_MOUNTS, "--pid", "--fork", "--kill-child=KILL")

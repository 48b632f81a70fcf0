"""`servicelab vm`: thin; each command is a few calls into the library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

vm_app = typer.Typer(
    help="A guest whose kernel has ip_vs, for a machine whose kernel has not.",
    no_args_is_help=True,
)


@vm_app.command("run", context_settings={"allow_interspersed_args": False})
def vm_run(
    command: Annotated[list[str], typer.Argument(help="The command, after --.")],
    memory: Annotated[float, typer.Option(help="The guest's memory, GiB.")] = 4.0,
    rw: Annotated[
        list[Path] | None,
        typer.Option(help="A folder whose changes are kept; may be repeated."),
    ] = None,
) -> None:
    """Run a command in a guest: the same files, a kernel with ip_vs, no network.

    Its output and exit code are passed on, and signals to it. What it writes is thrown away, but
    for .servicelab in the current folder and what --rw names.
    """
    from servicelab.progress import Progress
    from servicelab.vm.running import run_in_guest

    ended = run_in_guest(command, memory=memory, writable=rw or (), progress=Progress())
    raise typer.Exit(ended.code)


@vm_app.command("build")
def vm_build() -> None:
    """Build the guest's kernel, its disk image, and all that the labs may ask for in it."""
    from servicelab.progress import Progress
    from servicelab.vm.parts import ensure_parts

    parts = ensure_parts(Progress(), extras=True)
    print(f"kernel {parts.kernel}\ndata   {parts.data}")


@vm_app.command("status")
def vm_status(
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Say whether this machine needs a guest for IPVS, what of it is built, and which run."""
    from servicelab.vm.status import status

    seen = status()
    print(json.dumps(seen.to_dict(), indent=1, sort_keys=True) if as_json else seen)

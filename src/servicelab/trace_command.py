"""`servicelab trace`: thin; a few calls into the library."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer


def trace(
    service: Annotated[str, typer.Argument(help="NAMESPACE/SERVICE.")],
    from_: Annotated[
        str, typer.Option("--from", help="Where the connection starts: pod, node or outside.")
    ] = "pod",
    port: Annotated[
        str | None, typer.Option(help="The Service's port, by number or name; else its first.")
    ] = None,
    node: Annotated[
        str | None,
        typer.Option(help="The node to start on; from outside, the one whose node port is asked."),
    ] = None,
    html: Annotated[
        Path | None, typer.Option("--html", help="Write a page with the picture there.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
    name: Annotated[
        str, typer.Option("--cluster-name", help="Name of the kind cluster.")
    ] = "servicelab",
    context: Annotated[
        str | None, typer.Option(help="Any cluster, by a context of the kubeconfig.")
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="The file that has the context; else kubectl's.")
    ] = None,
) -> None:
    """Follow one real connection to a Service through the rules of the node, hop by hop."""
    from servicelab.explain.choosing import cluster_named, place_named, service_named
    from servicelab.trace import trace as trace_service
    from servicelab.trace.drawing import draw
    from servicelab.trace.page import check_writable, write_page

    (namespace, called), place = service_named(service), place_named(from_)
    if html:
        check_writable(html)
    access = cluster_named(name, context, kubeconfig)
    try:
        found = trace_service(access, namespace, called, place or "pod", port=port, node=node)
    finally:
        access.cluster.close()
    if html:
        write_page(found, html)
    if as_json:
        print(json.dumps(found.to_json(), indent=1))
    else:
        draw(found)
        if html:
            print(f"the picture: {html}")
    raise typer.Exit(found.exit_code)

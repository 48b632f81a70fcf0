"""The command line: thin; each command is a few calls into the library."""

from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from servicelab.class_commands import grade_all, grade_job, grade_shard, merge, shards
from servicelab.errors import ServicelabError, UsageError
from servicelab.exercise_commands import exercise_app, grade
from servicelab.interrupts import terminate_like_ctrl_c
from servicelab.trace_command import trace
from servicelab.vm_commands import vm_app

app = typer.Typer(
    help="Proves on real kind clusters what tutorials claim about Kubernetes Services.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
engine_app = typer.Typer(help="The private Docker Engine.", no_args_is_help=True)
images_app = typer.Typer(help="Images and binaries that the labs need.", no_args_is_help=True)
app.add_typer(engine_app, name="engine")
app.add_typer(images_app, name="images")
manifest_app = typer.Typer(help="Manifests, and the images that they name.", no_args_is_help=True)
app.add_typer(manifest_app, name="manifest")
app.add_typer(vm_app, name="vm")
app.command()(trace)
app.add_typer(exercise_app, name="exercise")
app.command()(grade)
app.command("grade-all")(grade_all)
app.command("grade-job")(grade_job)
app.command("grade-shard", hidden=True)(grade_shard)
app.command()(shards)
app.command()(merge)

DEFAULT_CLUSTER = "servicelab"

Name = Annotated[str, typer.Option("--cluster-name", help="Name of the kind cluster.")]
Images = Annotated[str, typer.Option("--images", help="auto, official or bundle.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
REGISTRY_HELP = "A private registry: HOST or HOST:PORT, with /PROJECT if it has projects."


def _print_json(value: Any) -> None:
    print(json.dumps(value, indent=1, sort_keys=True))


@app.command(context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def run(context: typer.Context) -> None:
    """Run labs and print which claims hold: servicelab run [LAB…] [pytest's options].

    Without a LAB, all of them. Results also go to .servicelab/claims.json and junit.xml.
    """
    from servicelab.run import run_labs

    raise typer.Exit(run_labs(context.args))


@app.command()
def up(
    name: Name = DEFAULT_CLUSTER,
    proxy_mode: Annotated[str, typer.Option(help="iptables, nftables or ipvs.")] = "iptables",
    images: Images = "auto",
    kind_config: Annotated[Path | None, typer.Option(help="A kind configuration.")] = None,
) -> None:
    """Make a cluster, or find the one that is there, and keep it until `servicelab down`."""
    from servicelab.cluster import Cluster, as_mode, cluster_lock
    from servicelab.content import default_kind_config
    from servicelab.progress import Progress

    wanted = as_mode(proxy_mode)
    cluster = Cluster(
        name,
        mode=wanted,
        images=images,
        keep=True,
        made_by="up",
        progress=Progress(),
    )
    with cluster_lock(name):
        cluster.create(kind_config or default_kind_config())
        cluster.switch_mode(wanted)
        cluster.release()
    print(f"export KUBECONFIG={cluster.kubeconfig_path}")


@app.command()
def mode(
    proxy_mode: Annotated[str, typer.Argument(metavar="MODE", help="iptables, nftables or ipvs.")],
    name: Name = DEFAULT_CLUSTER,
    scheduler: Annotated[str | None, typer.Option(help="ipvs' scheduler, such as wlc.")] = None,
    strict_arp: Annotated[bool | None, typer.Option(help="ipvs' strictARP.")] = None,
) -> None:
    """Switch a kept cluster's proxy mode in place, prove it, and say what the old one left."""
    from servicelab.cluster import Cluster, as_mode, cluster_lock, read_lease
    from servicelab.content import default_kind_config
    from servicelab.progress import Progress

    wanted = as_mode(proxy_mode)
    if read_lease(name) is None:
        raise UsageError(
            f"there is no cluster {name!r}", remedy=f"`servicelab up --proxy-mode {wanted}`"
        )
    cluster = Cluster(name, keep=True, made_by="up", progress=Progress())
    with cluster_lock(name):
        cluster.create(default_kind_config())
        try:
            switched = cluster.switch_mode(wanted, scheduler=scheduler, strict_arp=strict_arp)
        finally:
            cluster.release()
    if switched is None:
        print(f"{name} is in {wanted} mode already")
        return
    print(f"{name} is in {wanted} mode, proved on every node in {switched.seconds:.1f} s")
    for node, left in switched.left_behind.items():
        print(f"kube-proxy left on {node}, cleaned since: {'; '.join(left)}")


@app.command()
def world(name: Name = DEFAULT_CLUSTER, images: Images = "auto") -> None:
    """Put a stand-in for public DNS and sites beside a cluster, until Ctrl-C.

    For the labs' manifests that name www.example.com: the cluster's DNS leads there meanwhile.
    """
    from servicelab.cluster import Cluster, cluster_lock
    from servicelab.content import default_kind_config
    from servicelab.interrupts import wait_for_interrupt
    from servicelab.progress import Progress
    from servicelab.world import world_beside

    cluster = Cluster(name, images=images, keep=True, made_by="up", progress=Progress())
    with cluster_lock(name):
        cluster.create(default_kind_config())
        cluster.release()
    with world_beside(cluster) as standing:
        for site in (*standing.sites.aliases, *standing.sites.hosts):
            print(f"{site:<22} {' '.join(sorted(standing.addresses(site)))}", flush=True)
        print("Ctrl-C takes it away")
        wait_for_interrupt()


@app.command()
def down(
    name: Name = DEFAULT_CLUSTER,
    all_clusters: Annotated[
        bool, typer.Option("--all", help="Every cluster that servicelab made.")
    ] = False,
) -> None:
    """Delete a cluster, and stop the private engine if nothing else runs in it."""
    from servicelab.cluster import all_leases, cluster_lock, forget, remove_containers
    from servicelab.engine import find_engine, stop_if_unused

    engine = find_engine()
    leases = [lease for lease in all_leases() if all_clusters or lease.cluster == name]
    for lease in leases:
        with cluster_lock(lease.cluster):
            if engine:
                remove_containers(engine, lease.cluster)
            forget(lease.cluster)
        print(f"deleted the cluster {lease.cluster}")
    if not leases and not all_clusters:
        print(f"there is no cluster {name}")
    if engine:
        stop_if_unused(engine)


@app.command()
def report(
    run: Annotated[str, typer.Argument(help="A run's name or folder, or latest.")] = "latest",
    html: Annotated[Path | None, typer.Option("--html", help="Write the page there.")] = None,
    report_dir: Annotated[
        Path | None, typer.Option("--report-dir", help="Where the runs' folders are.")
    ] = None,
) -> None:
    """Make a run's report again from its results, and say where it is."""
    from servicelab.report.run_folder import RUNS, remake_report

    print(remake_report(run, report_dir or RUNS, html))


@app.command()
def compare(
    before: Annotated[str, typer.Argument(help="The mode that is left.")],
    after: Annotated[str, typer.Argument(help="The mode that is entered.")],
    run: Annotated[str, typer.Option(help="Look at this run only, or latest.")] = "",
    report_dir: Annotated[
        Path | None, typer.Option("--report-dir", help="Where the runs' folders are.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Say what changes between two proxy modes: the claims whose measured verdicts differ."""
    from servicelab.cluster import as_mode
    from servicelab.report.compare import compare as compare_modes
    from servicelab.report.compare import render, to_dict
    from servicelab.report.run_folder import RUNS

    comparison = compare_modes(as_mode(before), as_mode(after), report_dir or RUNS, run)
    if as_json:
        _print_json(to_dict(comparison))
    else:
        print(render(comparison, width=shutil.get_terminal_size().columns))


@app.command()
def status(as_json: AsJson = False) -> None:
    """Show the clusters that servicelab made, who uses them, and the engine."""
    from servicelab.cluster import all_leases
    from servicelab.engine import status as engine_status

    clusters = [
        {
            "cluster": lease.cluster,
            "mode": lease.mode,
            "kubernetes": lease.kubernetes,
            "state": _state(lease),
            "owner": lease.owner.pid if lease.owner else None,
            "age_seconds": round(lease.age),
        }
        for lease in all_leases()
    ]
    engine = engine_status()
    if as_json:
        _print_json({"clusters": clusters, "engine": engine.to_dict()})
        return
    print(f"engine    {engine}")
    for entry in clusters:
        print(
            f"cluster   {entry['cluster']}: {entry['state']}, {entry['mode'] or 'not ready'}, "
            f"Kubernetes {entry['kubernetes'] or 'unknown'}, {entry['age_seconds']} s old"
        )
    if not clusters:
        print("cluster   none")


def _state(lease: Any) -> str:
    if lease.in_use:
        return f"in use by process {lease.owner.pid}"
    return "kept" if lease.keep else "left by a dead owner (`servicelab reap` removes it)"


@app.command()
def explain(
    service: Annotated[str, typer.Argument(help="NAMESPACE/SERVICE.")],
    from_: Annotated[
        str | None,
        typer.Option("--from", help="pod, node or outside; else whatever the Service needs."),
    ] = None,
    as_json: AsJson = False,
    name: Name = DEFAULT_CLUSTER,
    context: Annotated[
        str | None, typer.Option(help="Any cluster, by a context of the kubeconfig.")
    ] = None,
    kubeconfig: Annotated[
        Path | None, typer.Option(help="The file that has the context; else kubectl's.")
    ] = None,
) -> None:
    """Find the first broken layer of a Service, by looking and by asking; changes nothing."""
    from servicelab.explain import explain as explain_service
    from servicelab.explain.choosing import cluster_named, place_named, service_named
    from servicelab.explain.rendering import render

    (namespace, called), place = service_named(service), place_named(from_)
    access = cluster_named(name, context, kubeconfig)
    try:
        walk = explain_service(access, namespace, called, place)
    finally:
        access.cluster.close()
    if as_json:
        print(json.dumps(walk.to_json(), indent=1))
    else:
        render(walk)
    raise typer.Exit(walk.exit_code)


@app.command()
def reap() -> None:
    """Remove what dead owners left: clusters, volumes, kubeconfigs, leases, guests."""
    from servicelab.cluster import reap as reap_clusters
    from servicelab.cluster import restore_kept
    from servicelab.engine import find_engine, stop_if_unused
    from servicelab.vm.record import sweep

    guests = sweep()
    for guest in guests:
        print(f"removed the guest of process {guest.runner.pid}: {guest.command}")
    engine = find_engine()
    removed = reap_clusters(engine)
    for entry in removed:
        print(f"removed {entry.cluster} ({len(entry.containers)} containers): {entry.why}")
    restored = restore_kept() if engine else {}
    for name, took in restored.items():
        print(f"put back the API server's flags of {name}: {took}")
    if not removed and not restored and not guests:
        print("nothing to remove")
    if engine:
        stop_if_unused(engine)


@app.command()
def doctor(as_json: AsJson = False) -> None:
    """Say what this machine offers and lacks, and the remedy for each."""
    from servicelab.doctor import diagnose, render

    findings = diagnose()
    if as_json:
        _print_json([finding.to_dict() for finding in findings])
    else:
        render(findings)
    if any(finding.level == "error" for finding in findings):
        raise typer.Exit(3)


@engine_app.command("start")
def engine_start() -> None:
    """Start the private engine, unless a Docker answers already."""
    from servicelab.engine import find_engine, start_private
    from servicelab.progress import Progress

    engine = find_engine() or start_private(Progress(), started_by="user")
    print(f"{engine.kind} engine at {engine.host or 'the default socket'}")


@engine_app.command("stop")
def engine_stop(
    force: Annotated[bool, typer.Option("--force", help="Even if containers run in it.")] = False,
) -> None:
    """Stop the private engine; a Docker that was there is never touched."""
    from servicelab.engine import stop_private

    stopped = stop_private(force=force)
    print("stopped the private engine" if stopped else "no private engine runs")


@engine_app.command("status")
def engine_status_command(as_json: AsJson = False) -> None:
    """Say which engine answers."""
    from servicelab.engine import status as engine_status

    seen = engine_status()
    if as_json:
        _print_json(seen.to_dict())
    else:
        print(seen)


@images_app.command("build")
def images_build(images: Images = "auto") -> None:
    """Build or pull every image and binary; a second call finds them."""
    from servicelab.bundle import Extras, ensure_bundle
    from servicelab.engine import ensure_engine, stop_if_unused
    from servicelab.progress import Progress

    progress = Progress()
    engine = ensure_engine(progress)
    try:
        bundle = ensure_bundle(engine, source=images, progress=progress)
        Extras(engine, bundle, progress).ensure_all()
    finally:
        stop_if_unused(engine)
    print(f"{bundle.source} images, because {bundle.reason}: {bundle.node_image}")


@images_app.command("list")
def images_list(as_json: AsJson = False) -> None:
    """List what the cache holds."""
    from servicelab.bundle import list_images

    entries = list_images()
    if as_json:
        _print_json([entry.to_dict() for entry in entries])
        return
    for entry in entries:
        print(entry)


@images_app.command("save")
def images_save(file: Path) -> None:
    """Write everything a machine without a network needs into one file."""
    from servicelab.bundle import save
    from servicelab.progress import Progress

    save(file, Progress())


@images_app.command("push")
def images_push(
    registry: Annotated[str, typer.Argument(help=REGISTRY_HELP)],
    image: Annotated[
        list[str] | None, typer.Argument(help="Which images; else all that the labs use.")
    ] = None,
    grader: Annotated[
        bool, typer.Option("--grader", help="Also the image of `servicelab grade-job`.")
    ] = False,
    insecure: Annotated[
        bool, typer.Option("--insecure", help="Do without TLS, or with any certificate.")
    ] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="Replace another image of the same name.")
    ] = False,
    images: Images = "auto",
) -> None:
    """Push images to a private registry, as `servicelab manifest rewrite` names them there.

    Logs in as Docker does: with what `docker login` wrote.
    """
    from servicelab.bundle import Extras, ensure_bundle
    from servicelab.bundle.extras import image_names, offered_images
    from servicelab.bundle.grader import grader_image
    from servicelab.engine import ensure_engine, stop_if_unused
    from servicelab.progress import Progress
    from servicelab.registry import Crane, push_images, targets

    wanted = [*(image or image_names()), *([grader_image()] if grader else [])]
    names = targets(wanted, registry, offered=offered_images())
    progress = Progress()
    engine = ensure_engine(progress)
    try:
        extras = Extras(engine, ensure_bundle(engine, source=images, progress=progress), progress)
        crane = Crane(extras.crane(), registry, insecure=insecure)
        pushed = push_images(extras.archive, names, crane, progress=progress, replace=replace)
    finally:
        stop_if_unused(engine)
    for each in pushed:
        print(each)


@images_app.command("load")
def images_load(file: Path) -> None:
    """Read such a file into the cache."""
    from servicelab.bundle import load
    from servicelab.progress import Progress

    load(file, Progress())


Manifest = Annotated[Path, typer.Argument(help="A YAML file, or - for standard input.")]


@manifest_app.command("rewrite")
def manifest_rewrite(
    file: Manifest,
    registry: Annotated[str, typer.Option(help=REGISTRY_HELP)],
    output: Annotated[
        Path | None, typer.Option(help="Where it goes, FILE itself too; else standard output.")
    ] = None,
) -> None:
    """Make a manifest's Pods take their images from a private registry; says which, on stderr."""
    from servicelab.manifests import read_text, rewrite, write_text

    text, where = read_text(file)
    rewriting = rewrite(text, registry, where=where)
    write_text(rewriting.text, output)
    for line in rewriting.report():
        print(line, file=sys.stderr)


@manifest_app.command("images")
def manifest_images(file: Manifest) -> None:
    """List the images that a manifest's Pods run, each once, with its full name."""
    from servicelab.manifests import images_of, read_text

    for image in dict.fromkeys(str(each.reference) for each in images_of(*read_text(file))):
        print(image)


def main() -> None:
    """Run the command line; every error is one sentence and an exit code by kind."""
    terminate_like_ctrl_c()
    try:
        app()
    except ServicelabError as error:
        print(f"servicelab: {error}", file=sys.stderr)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        print("servicelab: interrupted", file=sys.stderr)
        sys.exit(130)

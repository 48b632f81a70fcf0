"""The pytest plugin: wiring only.

Loaded in every pytest run of an environment that has servicelab, so it imports little: the rest
comes in `pytest_configure`, and what needs a cluster only with the fixtures.
"""

from __future__ import annotations

import argparse
from collections.abc import Generator
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from servicelab.errors import NotAsked, ServicelabError, UsageError

if TYPE_CHECKING:
    from servicelab.cluster.config import ProxyMode
    from servicelab.report.recorder import Recorder
    from servicelab.verdict.deadlines import Deadlines
    from servicelab.verdict.measurement import Measurement

_MARKERS = (
    "claim(id, modes=None, points=1, hint=''): the claim of the lab's claims.toml that it proves",
    "slow: takes more than a minute; left out by --no-slow",
    "disruptive: takes something away from the whole cluster for a while and puts it back; runs "
    "last in its mode and alone; left out by --no-disruptive",
)
_CLUSTER_NAME = "servicelab"
#: The mode of the existing cluster, asked once.
EXISTING_MODE = pytest.StashKey[str]()


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add servicelab's options; those of pytest-kind are its own."""
    group = parser.getgroup("servicelab", "Kubernetes Services, proven on a real cluster")
    group.addoption(
        "--proxy-mode",
        action="append",
        type=_modes,
        metavar="MODE",
        help="kube-proxy's mode: iptables, nftables, ipvs or all; may be repeated, or a list "
        "with commas (default: the kind configuration's, else iptables)",
    )
    group.addoption(
        "--images",
        choices=("auto", "official", "bundle"),
        default="auto",
        help="where images come from: pulled from registries (official), built here from source "
        "packages (bundle), or what this machine can do (auto, the default)",
    )
    group.addoption(
        "--kind-config",
        metavar="FILE",
        help="kind configuration of the cluster (default: the ini value kind_config)",
    )
    group.addoption(
        "--context",
        metavar="NAME",
        help="run on an existing cluster, by a context of the kubeconfig (of --kubeconfig, else "
        "where kubectl looks); it is never switched, disrupted or deleted",
    )
    group.addoption(
        "--cluster-per-worker",
        action="store_true",
        help="with -n: each worker has a cluster of its own (NAME, NAME-2, …), so that no test has "
        "to wait for another worker's; each takes some 1.5 GiB of memory",
    )
    group.addoption(
        "--registry",
        metavar="REGISTRY",
        help="with --context: where its nodes pull the images from, HOST[:PORT][/PROJECT] "
        "(`servicelab images push` puts them there)",
    )
    group.addoption(
        "--claims-json", metavar="FILE", help="write the claim matrix there as JSON too"
    )
    group.addoption(
        "--evidence",
        choices=("failed", "all", "none"),
        default="failed",
        help="whose objects, logs, rules and requests are kept: of claims that failed (the "
        "default), of all, or of none",
    )
    group.addoption(
        "--report-dir",
        metavar="FOLDER",
        help="where each run's results, report and evidence go, in a folder of its own "
        "(default: .servicelab/runs)",
    )
    group.addoption(
        "--deadline",
        action="append",
        default=[],
        metavar="NAME=SECONDS",
        help="change how long one kind of wait may take on this machine (in a guest it gets as "
        "many times more as all others); may be repeated",
    )
    group.addoption(
        "--deadline-factor",
        type=float,
        default=1.0,
        metavar="X",
        help="multiply all other deadlines, for a slow machine",
    )
    group.addoption(
        "--no-slow",
        dest="run_slow",
        action="store_false",
        default=True,
        help="skip tests marked slow",
    )
    group.addoption(
        "--run-slow", dest="run_slow", action="store_true", help="run them (the default)"
    )
    group.addoption(
        "--no-disruptive",
        dest="run_disruptive",
        action="store_false",
        default=True,
        help="skip tests marked disruptive",
    )
    group.addoption(
        "--no-vm",
        dest="guest",
        action="store_false",
        default=True,
        help="skip IPVS where this kernel has no ip_vs, instead of trying it in a guest that has",
    )
    group.addoption(
        "--guests",
        type=_guests,
        metavar="N",
        help="in how many guests IPVS is tried side by side, where this kernel has no ip_vs: each "
        "takes a processor, 4 GiB of memory and a cluster of its own, so there can't be more than "
        "processors (default: auto, which is 2 where there is room and it saves time, else 1)",
    )
    group.addoption(
        "--most-services",
        type=_two_hundred_or_more,
        metavar="N",
        help="how many Services a lab about many of them makes at most "
        "(default: the lab's choice, by what the machine has)",
    )
    group.addoption("--refute", metavar="MODULE", help=argparse.SUPPRESS)
    parser.addini("kind_config", "kind configuration of the cluster, from the root folder")


@pytest.hookimpl(tryfirst=True)
def pytest_load_initial_conftests(early_config: pytest.Config) -> None:
    """Give pytest-kind's --cluster-name our default, whichever plugin was loaded first."""
    early_config.option.cluster_name = _CLUSTER_NAME


def pytest_configure(config: pytest.Config) -> None:
    """Check the options, and register what runs the session.

    Raises:
        pytest.UsageError: an option has a wrong value.
    """
    from servicelab.report.broken_layer import BrokenLayer
    from servicelab.report.evidence.keeper import evidence_keeper
    from servicelab.report.recorder import Recorder
    from servicelab.report.run_folder import RUNS, RunFolder
    from servicelab.verdict import deadlines
    from servicelab.verdict.renewal import Renewal
    from servicelab.verdict.selection import Selection
    from servicelab.verdict.turns import turns_of_worker
    from servicelab.vm.part import part_of_environment
    from servicelab.vm.reports import given_run_folder, reporting

    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    try:
        _find_kind_config(config)
        wanted = deadlines.parse(config.option.deadline, factor=config.option.deadline_factor)
        _load_refuters(config)
        _check_existing(config)
    except ServicelabError as error:
        raise pytest.UsageError(str(error)) from None
    before = deadlines.use(wanted)
    config.add_cleanup(lambda: _put_back(before))
    modes = chosen_modes(config)
    selection = Selection(modes, config.option.run_slow, config.option.run_disruptive)
    target = config.option.claims_json
    folder = RunFolder.new(config.invocation_params.dir / (config.option.report_dir or RUNS))
    hosts_run = given_run_folder()
    if hosts_run:
        folder = RunFolder(hosts_run)
    recorder = Recorder(
        selection,
        claims_json=config.invocation_params.dir / target if target else None,
        run_folder=None if hosts_run else folder,
        refuting=config.option.refute or "",
    )
    config.pluginmanager.register(selection, "servicelab-selection")
    config.pluginmanager.register(recorder, "servicelab-recorder")
    config.pluginmanager.register(evidence_keeper(config, folder), "servicelab-evidence")
    config.pluginmanager.register(BrokenLayer(), "servicelab-broken-layer")
    config.pluginmanager.register(Renewal(), "servicelab-renewal")
    if turns := turns_of_worker(config):
        config.pluginmanager.register(turns, "servicelab-turns")
    if hosts_run:
        config.pluginmanager.register(reporting(recorder), "servicelab-guest-reports")
        if part := part_of_environment():
            config.pluginmanager.register(part, "servicelab-guest-part")
    elif "ipvs" in modes and (column := _guest_column(config, recorder)):
        config.pluginmanager.register(column, "servicelab-guest-column")
    _register_fixtures(config)


@pytest.hookimpl(tryfirst=True)
def pytest_sessionstart(session: pytest.Session) -> None:
    """Read the catalogues before anything starts, xdist's workers included.

    Raises:
        pytest.UsageError: one of them is wrong.
    """
    from servicelab.verdict.selection import check_catalogues

    try:
        check_catalogues(session.config)
    except UsageError as error:
        raise pytest.UsageError(str(error)) from None


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    """Skip what can't be asked of this cluster."""
    return (yield from _skip_what_is_not_asked())


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Skip what can't be asked of this cluster."""
    return (yield from _skip_what_is_not_asked())


def _skip_what_is_not_asked() -> Generator[None, object, object]:
    try:
        return (yield)
    except NotAsked as error:
        pytest.skip(str(error))


@pytest.fixture
def verdict(request: pytest.FixtureRequest) -> Measurement:
    """What the test measured about its claim; `holds` if it says nothing and passes."""
    from servicelab.report.recorder import MEASUREMENT
    from servicelab.verdict.measurement import Measurement

    measured: Measurement = request.node.stash.setdefault(MEASUREMENT, Measurement())
    return measured


def _guest_column(config: pytest.Config, recorder: Recorder) -> object | None:
    from servicelab.vm.column import column_for

    return column_for(config, recorder.selection.modes, recorder)


def chosen_modes(config: pytest.Config) -> tuple[ProxyMode, ...]:
    """The proxy modes of the run, in the order in which they are entered."""
    from servicelab.verdict.catalogue import MODES

    given = config.option.proxy_mode or [(_mode_unless_given(config),)]
    chosen = {mode for modes in given for mode in modes}
    return tuple(mode for mode in MODES if mode in chosen)


def _mode_unless_given(config: pytest.Config) -> str:
    """The mode of an existing cluster; else that of the kind configuration."""
    if config.option.context:
        if EXISTING_MODE not in config.stash:
            from servicelab.fixtures import cluster_of_session

            config.stash[EXISTING_MODE] = cluster_of_session(config).configured_mode()
        return config.stash[EXISTING_MODE]
    return _configured_mode(config.option.kind_config)


def _check_existing(config: pytest.Config) -> None:
    """Check the options for an existing cluster; asks it for its mode, and nothing else."""
    if config.option.registry:
        from servicelab.manifests import checked_registry

        if not config.option.context:
            raise UsageError(
                "--registry is for an existing cluster", remedy="name it with --context"
            )
        checked_registry(config.option.registry)
    if config.option.context:
        if config.option.cluster_per_worker:
            raise UsageError(
                "--cluster-per-worker makes clusters, and --context names one that is there",
                remedy="leave one of them out",
            )
        chosen_modes(config)


def _two_hundred_or_more(value: str) -> int:
    if not value.isdecimal() or int(value) < 200:
        raise argparse.ArgumentTypeError(f"{value!r} is not a number from 200 on")
    return int(value)


def _guests(value: str) -> int | None:
    if value == "auto":
        return None
    if not value.isdecimal() or int(value) < 1:
        raise argparse.ArgumentTypeError(f"{value!r} is neither auto nor a number from 1 on")
    from servicelab.vm.room import processors

    if int(value) > (most := processors()):
        raise argparse.ArgumentTypeError(
            f"each guest takes a processor, and this process may use {most}: {value} are too many"
        )
    return int(value)


def _modes(value: str) -> tuple[str, ...]:
    from servicelab.verdict.catalogue import MODES

    given = [mode.strip() for mode in value.split(",")]
    for mode in given:
        if mode not in (*MODES, "all"):
            raise argparse.ArgumentTypeError(
                f"unknown mode {mode!r} (choose from {', '.join(MODES)}, all)"
            )
    return MODES if "all" in given else tuple(given)


def _configured_mode(kind_config: str | None) -> str:
    """The mode that a kind configuration asks for; a broken one is told when it is used."""
    if not kind_config:
        return "iptables"
    import yaml

    from servicelab.verdict.catalogue import MODES

    try:
        document = yaml.safe_load(Path(kind_config).read_text(encoding="utf-8"))
        mode = document["networking"]["kubeProxyMode"]
    except (OSError, UnicodeDecodeError, yaml.YAMLError, KeyError, TypeError):
        return "iptables"
    return mode if mode in MODES else "iptables"


def _find_kind_config(config: pytest.Config) -> None:
    given = config.option.kind_config
    path = config.invocation_params.dir / given if given else None
    if path is None and (configured := config.getini("kind_config")):
        path = (config.inipath.parent if config.inipath else config.rootpath) / configured
    if path is None:
        return
    if not path.is_file():
        raise UsageError(
            f"there is no kind configuration {path}", remedy="name one with --kind-config"
        )
    config.option.kind_config = str(path)


def _put_back(before: Deadlines) -> None:
    from servicelab.verdict import deadlines

    deadlines.use(before)


def _load_refuters(config: pytest.Config) -> None:
    if config.option.refute:
        from servicelab.verdict.refuter import REFUTERS, load_refuters

        config.stash[REFUTERS] = load_refuters(
            config.option.refute, root=config.invocation_params.dir
        )


def _register_fixtures(config: pytest.Config) -> None:
    # Only now: what is registered last wins, so `kind_cluster` is ours whatever the load order.
    fixtures = import_module("servicelab.fixtures")
    config.pluginmanager.register(fixtures, "servicelab-fixtures")

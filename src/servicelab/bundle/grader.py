"""The image that grades from inside a cluster: Python, what servicelab needs, and servicelab.

Nothing but `servicelab grade-job` uses it, so it is built when that, or `images push`, asks for it.
"""

from __future__ import annotations

import hashlib
import os
import platform
import shutil
import sys
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from servicelab.bundle.archive import PATH, Image, write_image
from servicelab.bundle.bench import Bench
from servicelab.bundle.catalogue import PACKAGE
from servicelab.bundle.rootfs import PYTHON, STDLIB, probe_root_step
from servicelab.bundle.steps import Step, make_step
from servicelab.content import content_root

#: Where Debian's Python looks for packages.
PACKAGES = "usr/lib/python3/dist-packages"
ENTRYPOINT = ("python3", "-m", "servicelab")
#: glibc's versions that the wheels may ask for: Debian's is newer.
_GLIBC = ("manylinux_2_17", "manylinux_2_28", "manylinux2014")
#: The half of the Kubernetes client that is for asyncio.
_SUPERFLUOUS = ("kubernetes/aio",)
_CONTENT = ("exercises", "kind-config.yaml")
_NO_SOURCE = shutil.ignore_patterns("__pycache__", "_labs")


def grader_image_step() -> Step:
    """The image; its key covers servicelab's own sources, so both sides have the same ones."""

    def build(bench: Bench) -> None:
        root = bench.scratch / "root"
        shutil.copytree(
            bench.result("grader-root") / "root", root, symlinks=True, copy_function=os.link
        )
        package = root / PACKAGES / "servicelab"
        shutil.copytree(PACKAGE, package, ignore=_NO_SOURCE)
        for name in _CONTENT:
            _copy(content_root() / name, package / "_labs" / name)
        _compile(bench, root, f"{PACKAGES}/servicelab")
        image = Image(
            names=(image_name(bench.step),),
            content=((root, ""),),
            entrypoint=ENTRYPOINT,
            # Its user has no home, and nothing but /tmp can be written to.
            environment=(PATH, "HOME=/tmp"),
        )
        write_image(image, bench.folder / "image.tar")

    return make_step(
        "grader-image",
        build,
        facts={"sources": sources_digest(), "entrypoint": ENTRYPOINT},
        needs=[grader_root_step()],
        disk=200,
    )


def grader_root_step() -> Step:
    """The probe's Python, and the packages that servicelab needs, in the versions used here."""
    wheels = tuple(locked_requirements())

    def build(bench: Bench) -> None:
        root = bench.folder / "root"
        shutil.copytree(bench.result("probe-root") / "root", root, symlinks=True)
        shutil.rmtree(root / PACKAGES)  # Debian's dnspython, which is older
        platforms = [f"--platform={glibc}_{platform.machine()}" for glibc in _GLIBC]
        bench.run(
            sys.executable, "-m", "pip", "install", "--quiet", "--no-input",
            "--disable-pip-version-check", "--no-deps", "--no-compile", "--only-binary=:all:",
            "--implementation=cp", f"--python-version={PYTHON}", *platforms,
            f"--target={root / PACKAGES}", *wheels,
        )  # fmt: skip
        for name in _SUPERFLUOUS:
            shutil.rmtree(root / PACKAGES / name, ignore_errors=True)
        _compile(bench, root, STDLIB, PACKAGES)
        program = "import kubernetes, pytest_kind, typer, psutil, filelock, jinja2, yaml, websocket"
        bench.run("chroot", root, "/usr/bin/python3", "-c", program)

    facts = {"python": PYTHON, "wheels": wheels, "without": _SUPERFLUOUS}
    return make_step("grader-root", build, facts=facts, needs=[probe_root_step()], disk=200)


def grader_image() -> str:
    """The image's name, "servicelab.local/grader:<key>"; it need not be built."""
    return image_name(grader_image_step())


def image_name(step: Step) -> str:
    """The name of the image of a step."""
    from servicelab.bundle.extras import engine_name

    return engine_name(step)


def locked_requirements() -> Iterator[str]:
    """NAME==VERSION of everything that servicelab needs there: the versions that it has here."""
    todo, seen = ["servicelab"], {"servicelab"}
    found = set()
    while todo:
        for line in metadata.requires(todo.pop()) or ():
            requirement = Requirement(line)
            name = canonicalize_name(requirement.name)
            if name in seen or not _applies(requirement):
                continue
            seen.add(name)
            try:
                found.add(f"{name}=={metadata.version(name)}")
            except metadata.PackageNotFoundError:
                found.add(str(requirement).partition(";")[0].strip())  # for that Python only
                continue
            todo.append(name)
    yield from sorted(found)


def sources_digest() -> str:
    """A digest of what the image holds of servicelab itself: package and exercises."""
    digest = hashlib.sha256()
    # Wherever they stand: the same sources in another folder are the same image.
    sources = {path.relative_to(root).as_posix(): path for root, path in _sources()}
    for name in sorted(sources):
        digest.update(name.encode() + b"\0")
        digest.update(hashlib.sha256(sources[name].read_bytes()).digest())
    return digest.hexdigest()


def _sources() -> Iterator[tuple[Path, Path]]:
    for root in (PACKAGE, *(content_root() / name for name in _CONTENT)):
        if root.is_file():
            yield root.parent, root
        for folder, inner, files in os.walk(root):
            # Not looked into: Python may be making or removing one at this moment.
            inner[:] = set(inner) - _NO_SOURCE(folder, inner)
            yield from ((root.parent, Path(folder, name)) for name in files)


def _compile(bench: Bench, root: Path, *folders: str) -> None:
    """Compile what Python imports there: nothing can be written to when it runs."""
    # Unchecked, because the archive's files all have the same time.
    bench.run(
        "chroot", root, "/usr/bin/python3", "-m", "compileall", "-q",
        "--invalidation-mode", "unchecked-hash", *(f"/{folder}" for folder in folders),
    )  # fmt: skip


def _applies(requirement: Requirement) -> bool:
    # Without "extra", markers that ask for one are false.
    environment = {
        "python_version": PYTHON,
        "python_full_version": f"{PYTHON}.0",
        "implementation_name": "cpython",
        "platform_python_implementation": "CPython",
        "extra": "",
    }
    return requirement.marker is None or requirement.marker.evaluate(environment)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        shutil.copytree(source, target, ignore=_NO_SOURCE)
    else:
        shutil.copyfile(source, target)

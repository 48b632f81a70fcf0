"""kind and kubectl as their projects publish them, checked against the published sums."""

from __future__ import annotations

import hashlib
import re
import urllib.error
import urllib.request
from pathlib import Path

from servicelab.bundle.archive import architecture
from servicelab.errors import InfrastructureError

KIND_URL = "https://github.com/kubernetes-sigs/kind/releases/download"
KUBECTL_URL = "https://dl.k8s.io/release"
TIMEOUT_S = 60.0
_CHUNK = 1 << 20


def download_kind(version: str, into: Path) -> None:
    """Download kind.

    Args:
        version: such as "v0.33.0".
        into: the file to write; executable afterwards.

    Raises:
        InfrastructureError: it can't be had, or its sum is not the published one.
    """
    url = f"{KIND_URL}/{version}/kind-linux-{architecture()}"
    _download(url, f"{url}.sha256sum", into)


def download_kubectl(version: str, into: Path) -> None:
    """Download kubectl; see `download_kind`."""
    url = f"{KUBECTL_URL}/{version}/bin/linux/{architecture()}/kubectl"
    _download(url, f"{url}.sha256", into)


def _download(url: str, sum_url: str, into: Path) -> None:
    published = _get(sum_url)
    match = re.match(rb"[0-9a-f]{64}\b", published)
    if match is None:
        raise InfrastructureError(f"{sum_url} does not hold a SHA-256 sum")
    digest = hashlib.sha256()
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer, into.open("wb") as file:
            while chunk := answer.read(_CHUNK):
                digest.update(chunk)
                file.write(chunk)
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise _unreachable(url, error) from error
    if digest.hexdigest() != match[0].decode():
        into.unlink()
        raise InfrastructureError(
            f"{url} is damaged: its SHA-256 sum is {digest.hexdigest()}, published is "
            f"{match[0].decode()}",
            remedy="run the same command again; if it stays so, something changes downloads here",
        )
    into.chmod(0o755)


def _get(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=TIMEOUT_S) as answer:
            content: bytes = answer.read()
            return content
    except (urllib.error.URLError, TimeoutError, ConnectionError) as error:
        raise _unreachable(url, error) from error


def _unreachable(url: str, error: Exception) -> InfrastructureError:
    reason = error.reason if isinstance(error, urllib.error.URLError) else error
    if isinstance(error, urllib.error.HTTPError):
        reason = f"status {error.code}"
    return InfrastructureError(
        f"{url} can't be downloaded ({reason})",
        remedy="check the network and the version, or use --images bundle",
    )

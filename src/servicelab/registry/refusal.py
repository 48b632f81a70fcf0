"""Why a registry refused, in one sentence with what to do, from what crane printed."""

from __future__ import annotations

import re

from servicelab.engine.engine import last_lines
from servicelab.errors import UsageError

_LONGEST = 300
"""Characters of a registry's own words; a proxy answers with a whole page."""

#: (what crane prints, what is wrong, what to do); the first that matches counts. {0} is what the
#: pattern caught, {host} the registry's host.
_REFUSALS = (
    (
        r"parsing config file \((.+?)\): (.+)",
        "Docker's credentials file {0} can't be read: {1}",
        "correct it, or log in again with: docker login {host}",
    ),
    (
        r"error getting credentials - err: (.+?)(?:, out:|$)",
        "Docker's credentials helper failed: {0}",
        "put the helper on PATH, or take credsStore and credHelpers out of Docker's config.json",
    ),
    (
        r"lookup (\S+?)(?: on \S+)?: (?:no such host|.*server misbehaving)",
        "the registry's host {0} can't be resolved",
        "check its name",
    ),
    (
        r"server gave HTTP response to HTTPS client",
        "the registry {host} does not speak TLS",
        "use --insecure if the way to it can be trusted, or give the registry a certificate",
    ),
    (
        r"x509: (.+?)(?:; (?:GET|Get) |$)",
        "the registry {host} has a certificate that this machine does not trust: {0}",
        "add its authority to this machine's certificates, or name its file in SSL_CERT_FILE, or "
        "use --insecure",
    ),
    (
        r"(tls: .+?)(?:; (?:GET|Get) |$)",
        "there is no TLS connection with the registry {host}: {0}",
        "check its port and its certificate, or use --insecure",
    ),
    (
        r"(connection refused|no route to host|network is unreachable|i/o timeout"
        r"|context deadline exceeded|connection reset by peer|\bEOF\b)",
        "no registry answers at {host}: {0}",
        "check its host and port, and that it runs",
    ),
    (
        r"(?i)(?:412 Precondition Failed|PRECONDITION|immutable)",
        "the registry {host} has an image of that name already and does not let it be replaced",
        "push to another project, or delete the image there first",
    ),
    (
        r"(?:401 Unauthorized|UNAUTHORIZED|authentication required)",
        "the registry {host} wants a login, or does not accept the one that Docker has",
        "log in with `docker login {host}`; at a Harbor the project must exist, too, and be part "
        "of REGISTRY: HOST/PROJECT",
    ),
    (
        r"(?:403 Forbidden|DENIED)",
        "the registry {host} does not let this login push there",
        "check the project's name, and that the account may push to it",
    ),
    (
        r"(?:NAME_UNKNOWN|404 Not Found|NAME_INVALID)",
        "the registry {host} knows no such place to push to",
        "check the name; at a Harbor the project must be made first: HOST/PROJECT",
    ),
    (
        r"(?:405 Method Not Allowed|UNSUPPORTED)",
        "the registry {host} takes no pushes: it is read-only, or a mirror of another one",
        "name a registry that images can be pushed to",
    ),
    (
        r"413 Request Entity Too Large",
        "a proxy in front of the registry {host} refuses an image's layer as too large",
        "raise its limit (client_max_body_size in nginx)",
    ),
)


def refusal(said: str, registry: str, image: str) -> UsageError:
    """The error to raise when crane failed.

    Args:
        said: what it printed on standard error.
        registry: as the user gave it.
        image: what was to be pushed or looked for, its full name there.
    """
    host = registry.partition("/")[0]
    for pattern, problem, remedy in _REFUSALS:
        if match := re.search(pattern, _error(said)):
            caught = [group.strip() for group in match.groups() if group]
            return UsageError(
                f"{image} can't be pushed: {problem.format(*caught, host=host)}",
                remedy=remedy.format(*caught, host=host),
            )
    words = _error(said)
    shortened = f"{words[:_LONGEST]}…" if len(words) > _LONGEST else words
    return UsageError(f"{image} can't be pushed: {shortened}", remedy=f"see the log of {host}")


def is_absent(said: str) -> bool:
    """Whether crane printed that there is no such image, at a registry that could tell."""
    return re.search(r"MANIFEST_UNKNOWN|NAME_UNKNOWN|404 Not Found", _error(said)) is not None


def _error(said: str) -> str:
    """Crane's error in one line; the lines before it tell what it tried."""
    match = re.search(r"^Error: (.+)", said, re.MULTILINE | re.DOTALL)
    return " ".join((match[1] if match else last_lines(said, 1)).split())

"""The Debian mirror is the one that this machine's own apt is configured with."""

from __future__ import annotations

from pathlib import Path

import pytest

from servicelab.apt_sources import (
    Mirror,
    Source,
    machine_mirror,
    parse_deb822,
    parse_one_line,
)
from servicelab.errors import InfrastructureError

DEB822 = """\
Types: deb deb-src
# a comment inside a stanza
URIs: http://mirror.test/debian
Suites: bookworm bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.test/debian-security
Suites: bookworm-security
Components: main
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg
"""


def apt_folder(root: Path, **files: str) -> Path:
    """An /etc/apt with these files; "list" is sources.list, others go into sources.list.d."""
    parts = root / "sources.list.d"
    parts.mkdir(parents=True)
    for name, text in files.items():
        path = root / "sources.list" if name == "list" else parts / name.replace("_", ".")
        path.write_text(text)
    return root


def test_deb822_sources_give_both_archives(tmp_path: Path) -> None:
    """A .sources file names the archive and the security archive."""
    mirror = machine_mirror(apt_folder(tmp_path, debian_sources=DEB822))

    assert mirror == Mirror("http://mirror.test/debian", "http://mirror.test/debian-security")


def test_one_line_sources_give_both_archives(tmp_path: Path) -> None:
    """The older one-line form does the same, with options and trailing comments."""
    mirror = machine_mirror(
        apt_folder(
            tmp_path,
            list=(
                "# deb http://old.test/debian buster main\n"
                "deb-src http://source.test/debian bookworm main\n"
                "deb [arch=amd64 trusted=yes] http://mirror.test/debian/ bookworm main # local\n"
                "deb http://mirror.test/debian-security bookworm-security main contrib\n"
            ),
        )
    )

    assert mirror == Mirror("http://mirror.test/debian/", "http://mirror.test/debian-security")


@pytest.mark.parametrize(
    "line",
    [
        "deb [signed-by=/etc/apt/keyrings/other.gpg] https://other.test/x/debian bookworm main",
        "deb https://other.test/linux/debian bookworm stable",
        "deb https://other.test/apt cloud-sdk-bookworm main",
        "deb cdrom:[Debian]/debian bookworm main",
    ],
)
def test_other_projects_archives_are_not_debians(line: str, tmp_path: Path) -> None:
    """An archive that another project signs or runs for Debian is never taken for the mirror."""
    with pytest.raises(InfrastructureError, match="no Debian archive among the apt sources"):
        machine_mirror(apt_folder(tmp_path, list=line + "\n"))


def test_a_key_named_debians_counts_whatever_the_address(tmp_path: Path) -> None:
    """A snapshot or proxy address is Debian's if Debian's keyring signs it."""
    source = (
        "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://m.test/x/1 a main"
    )

    assert machine_mirror(apt_folder(tmp_path, list=source)).archive == "http://m.test/x/1"


def test_cloud_images_mirror_lists_count(tmp_path: Path) -> None:
    """Debian's cloud images name a file with mirrors instead of an address."""
    text = (
        "Types: deb\nURIs: mirror+file:///etc/apt/mirrors/debian.list\n"
        "Suites: bookworm\nComponents: main\n\n"
        "Types: deb\nURIs: mirror+file:///etc/apt/mirrors/debian-security.list\n"
        "Suites: bookworm-security\nComponents: main\n"
    )

    mirror = machine_mirror(apt_folder(tmp_path, debian_sources=text))

    assert mirror.archive == "mirror+file:///etc/apt/mirrors/debian.list"
    assert mirror.security == "mirror+file:///etc/apt/mirrors/debian-security.list"


def test_disabled_and_source_only_stanzas_are_left_out() -> None:
    """What apt itself would not use is not used."""
    disabled = DEB822.replace("Types: deb\n", "Types: deb\nEnabled: no\n")
    source_only = "Types: deb-src\nURIs: http://m.test/debian\nSuites: a\nComponents: main\n"

    assert [source.uri for source in parse_deb822(disabled)] == ["http://mirror.test/debian"]
    assert parse_deb822(source_only) == []


def test_several_addresses_in_one_stanza_are_several_sources() -> None:
    """A field may go on in the next line."""
    text = (
        "Types: deb\nURIs: http://a.test/debian\n http://b.test/debian\n"
        "Suites: s\nComponents: main\n"
    )

    assert [source.uri for source in parse_deb822(text)] == [
        "http://a.test/debian",
        "http://b.test/debian",
    ]


def test_options_of_a_one_line_source_are_read() -> None:
    """signed-by is what tells Debian's archive from others."""
    (source,) = parse_one_line(
        "deb [arch=amd64 signed-by=/k.gpg] http://a.test/debian s main extra"
    )

    assert source == Source("http://a.test/debian", ("s",), ("main", "extra"), "/k.gpg")


def test_a_suite_comes_with_its_updates_and_security_fixes() -> None:
    """Any suite is on the same mirror, whichever suite the machine itself uses."""
    mirror = Mirror("http://m.test/debian", "http://m.test/debian-security")

    assert mirror.lines("trixie", Path("/k.gpg")) == [
        "deb [signed-by=/k.gpg] http://m.test/debian trixie main",
        "deb [signed-by=/k.gpg] http://m.test/debian trixie-updates main",
        "deb [signed-by=/k.gpg] http://m.test/debian-security trixie-security main",
    ]
    assert mirror.lines("sid", None) == ["deb http://m.test/debian sid main"]

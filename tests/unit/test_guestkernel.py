"""The guest's kernel: its options, its sources' package."""

from __future__ import annotations

import pytest

from servicelab.bundle.guestkernel import (
    OPTIONS,
    check_options,
    parse_options,
    source_package,
)
from servicelab.errors import InfrastructureError


def test_options_are_read_by_name() -> None:
    """On, off, with a text; comments and blank lines are none."""
    text = '# words\n\nCONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C="x y"\nCONFIG_D=4\n'

    assert parse_options(text) == {
        "CONFIG_A": "y",
        "CONFIG_B": "",
        "CONFIG_C": '"x y"',
        "CONFIG_D": "4",
    }


def test_every_option_that_does_not_stick_is_named() -> None:
    """Off where it should be on, another value, and one that the sources do not know."""
    wanted = "CONFIG_A=y\nCONFIG_B=y\n# CONFIG_C is not set\nCONFIG_D=4\nCONFIG_E=y\n"
    got = "CONFIG_A=y\n# CONFIG_B is not set\nCONFIG_C=y\nCONFIG_D=8\n"

    with pytest.raises(InfrastructureError) as refused:
        check_options(wanted, got)

    assert "keep CONFIG_B=y, CONFIG_C=n, CONFIG_D=4, CONFIG_E=y;" in str(refused.value)


def test_an_option_that_the_sources_leave_out_is_off() -> None:
    """A wish to have it off is met, where what it depends on is off."""
    check_options("# CONFIG_SOUND is not set\n", "CONFIG_A=y\n")


def test_our_options_have_ip_vs_with_every_scheduler_of_the_labs() -> None:
    """And each is named once."""
    text = OPTIONS.read_text()
    options = parse_options(text)

    assert {f"CONFIG_IP_VS_{name}" for name in ("RR", "WRR", "LC", "WLC", "SH")} <= set(options)
    assert options["CONFIG_IP_VS"] == options["CONFIG_HOSTFS"] == "y"
    assert len(options) == sum("CONFIG_" in line for line in text.splitlines())


def test_the_newest_sources_are_taken_from_the_meta_package() -> None:
    """Its one dependency names them."""
    assert source_package("linux-source-7.2 (= 7.2.13-1)") == "linux-source-7.2"
    assert source_package("linux-source-10.0 (= 10.0.1-1)") == "linux-source-10.0"


@pytest.mark.parametrize("depends", ["linux-source-6.12 (= 6.12.1-1)", "linux-source-6.1", ""])
def test_sources_that_are_too_old_are_refused(depends: str) -> None:
    """The sentence says what is needed."""
    with pytest.raises(InfrastructureError, match=r"needs Linux 6\.19 or newer"):
        source_package(depends)

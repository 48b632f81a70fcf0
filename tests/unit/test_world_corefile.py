"""Our block in a Corefile: put in, replaced, taken out without a trace."""

from __future__ import annotations

import pytest

from servicelab.world.corefile import forwards_to, with_forwarding, without_forwarding

KUBEADM = """.:53 {
    errors
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       pods insecure
    }
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    reload
}
"""


@pytest.mark.parametrize("before", [KUBEADM, KUBEADM.rstrip("\n"), ""])
def test_taking_it_out_leaves_what_was_there(before: str) -> None:
    """Out again, every byte is as it was."""
    changed = with_forwarding(before, ["example.com", "example.net"], "172.18.0.9")

    assert "example.com:53 example.net:53 {" in changed
    assert forwards_to(changed) == "172.18.0.9"
    assert without_forwarding(changed) == before


def test_putting_it_in_twice_leaves_the_second() -> None:
    """A block that a killed run left is replaced."""
    first = with_forwarding(KUBEADM, ["example.com"], "172.18.0.9")
    second = with_forwarding(first, ["example.org"], "172.18.0.10")

    assert forwards_to(second) == "172.18.0.10"
    assert "example.com" not in second
    assert without_forwarding(second) == KUBEADM


def test_without_a_block_there_is_nothing_to_take_out() -> None:
    """A Corefile of others is left alone, whatever it forwards to."""
    assert forwards_to(KUBEADM) is None
    assert without_forwarding(KUBEADM) == KUBEADM

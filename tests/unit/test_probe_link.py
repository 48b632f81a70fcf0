"""The probe on a link of its own, between two network namespaces: ICMP echo and ARP."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import resources

import pytest

from servicelab.errors import InfrastructureError
from servicelab.vantage import ErrorClass, PingRequest, Vantage
from servicelab.vantage.process_channel import ProcessChannel
from servicelab.verdict import Deadline, eventually

PROBE = str(resources.files("servicelab.vantage") / "probe" / "servicelab_probe.py")
NEAR, FAR, NOBODY = "10.9.0.1", "10.9.0.2", "10.9.0.9"
FORBIDDEN, SILENT = "10.77.0.1", "10.78.0.1"
PATIENCE = 0.3  # seconds; for the questions that nobody answers


class Place:
    """A network namespace, held by an idle probe."""

    def __init__(self, idle: subprocess.Popen[str]) -> None:
        self.inside = ("nsenter", f"--target={idle.pid}", "--net")
        self.pid = str(idle.pid)

    def run(self, *argv: str) -> None:
        """Run a command there."""
        subprocess.run([*self.inside, *argv], check=True, capture_output=True, timeout=20)

    def set(self, name: str, value: str) -> None:
        """Set a kernel parameter of the namespace."""
        code = "import pathlib, sys; pathlib.Path(sys.argv[1]).write_text(sys.argv[2])"
        self.run(sys.executable, "-c", code, f"/proc/sys/net/{name}", value)


@contextmanager
def namespace() -> Iterator[Place]:
    """A network namespace with nothing in it."""
    argv = ["unshare", "--net", sys.executable, "-S", PROBE, "idle"]
    with subprocess.Popen(argv, stdout=subprocess.PIPE, text=True) as idle:
        try:
            assert idle.stdout is not None
            assert idle.stdout.readline() == "idle\n"
            yield Place(idle)
        finally:
            idle.terminate()


@pytest.fixture(scope="module")
def places() -> Iterator[tuple[Place, Place]]:
    """Near and far, each with a link to one bridge; the far one with a second link to it."""
    if os.geteuid() != 0 or not all(map(shutil.which, ("unshare", "nsenter", "ip"))):
        pytest.skip("needs root, unshare, nsenter and ip to make network namespaces")
    if subprocess.run(["unshare", "--net", "true"], capture_output=True, check=False).returncode:
        pytest.skip("network namespaces can't be made here")
    with namespace() as near, namespace() as far:
        near.run("ip", "link", "add", "near", "type", "bridge")
        for link in ("far1", "far2"):
            peer = ("peer", "name", link, "netns", far.pid)
            near.run("ip", "link", "add", f"to-{link}", "type", "veth", *peer)
            near.run("ip", "link", "set", f"to-{link}", "master", "near", "up")
        near.run("ip", "address", "add", f"{NEAR}/24", "dev", "near")
        near.run("ip", "link", "set", "near", "up")
        near.run("ip", "link", "set", "lo", "up")
        far.run("ip", "address", "add", f"{FAR}/24", "dev", "far1")
        for link in ("far1", "far2"):
            far.run("ip", "link", "set", link, "up")
        far.set("ipv4/ip_forward", "1")
        far.set("ipv4/icmp_ratelimit", "0")  # what is left is five for want of a route, 1/s then
        far.run("ip", "route", "add", "unreachable", "10.77.0.0/16")
        far.run("ip", "route", "add", "blackhole", "10.78.0.0/16")
        near.run("ip", "route", "add", "10.76.0.0/14", "via", FAR)
        yield near, far


@pytest.fixture(scope="module")
def near(places: tuple[Place, Place]) -> Iterator[Vantage]:
    """A vantage point on the link, once the far end has answered it."""
    argv = [*places[0].inside, sys.executable, "-I", PROBE, "channel"]
    with Vantage("near", lambda: ProcessChannel(argv)) as vantage:
        eventually(
            lambda: vantage.who_has(FAR),
            lambda reply: len(reply.macs) == 2,
            deadline=Deadline("link_in_test", 20),
            expecting="both links to be up",
            every=0.1,
        )
        yield vantage


@pytest.mark.parametrize("groups", ["1 0", "0 2147483647"], ids=["raw", "datagram"])
def test_ping_tells_an_answer_from_a_refusal_and_from_silence(
    near: Vantage, places: tuple[Place, Place], groups: str
) -> None:
    """An echo, an ICMP error with its sender, and nothing at all are three different replies."""
    places[0].set("ipv4/ping_group_range", groups)

    echo = near.ping(FAR)
    forbidden = near.ping(FORBIDDEN)
    silent = near.ping(SILENT, timeout=PATIENCE)
    nowhere = near.ping("192.0.2.1")

    assert (echo.ok, echo.address, echo.answered_by) == (True, FAR, FAR)
    assert 0 < echo.seconds < 2
    assert (forbidden.error, forbidden.reported_by) == (ErrorClass.UNREACHABLE, FAR)
    assert forbidden.icmp == (3, 1)
    assert (silent.error, silent.reported_by) == (ErrorClass.TIMEOUT, "")
    assert silent.seconds >= PATIENCE
    assert (nowhere.error, nowhere.reported_by) == (ErrorClass.UNREACHABLE, "")


def test_several_pings_at_a_time_do_not_take_each_others_answers(
    near: Vantage, places: tuple[Place, Place]
) -> None:
    """Raw sockets hear everybody's echoes and errors; each request keeps to its own."""
    places[0].set("ipv4/ping_group_range", "1 0")

    # Two errors only, because the far end's limit holds for all tests here together.
    targets = [FAR, NEAR] * 5 + [FORBIDDEN, FAR, NEAR] * 2 + [FAR, NEAR] * 5
    replies = near.ask([PingRequest(each) for each in targets], workers=8)

    answered_by = [reply.error or reply.to_json()["answered_by"] for reply in replies]
    wanted = [ErrorClass.UNREACHABLE if each == FORBIDDEN else each for each in targets]
    assert answered_by == wanted


def test_who_has_gathers_everyone_who_claims_the_address(near: Vantage) -> None:
    """Two links that claim one address are both named, which a neighbour table would hide."""
    reply = near.who_has(FAR)

    assert reply.ok
    assert reply.link == "near"
    assert len(reply.macs) == 2
    assert all(0 < each.seconds < 1 for each in reply.answers)


def test_who_has_times_out_where_nobody_claims_the_address(near: Vantage) -> None:
    """Silence on the link is a `timeout`; a link that is not there is another error."""
    nobody = near.who_has(NOBODY, timeout=PATIENCE)
    elsewhere = near.who_has(FAR, link="wlan7")

    assert (nobody.error, nobody.answers) == (ErrorClass.TIMEOUT, ())
    assert elsewhere.error is ErrorClass.OTHER
    assert "wlan7" in elsewhere.detail


def test_watching_hears_gratuitous_arp(near: Vantage, places: tuple[Place, Place]) -> None:
    """A stream has one reply for each packet about the address, announcements marked as such."""
    _, far = places
    far.set("ipv4/conf/far1/arp_notify", "1")
    with near.watch_arp(FAR) as stream:
        far.run("ip", "link", "set", "far1", "address", "02:00:00:00:00:99")
        eventually(
            lambda: [packet for reply in stream.so_far() for packet in reply.packets],
            lambda packets: any(packet.gratuitous for packet in packets),
            deadline=Deadline("arp_in_test", 20),
            expecting="a gratuitous ARP",
            every=0.05,
        )

    packets = [packet for reply in stream.replies for packet in reply.packets]
    assert all(FAR in (packet.sender_ip, packet.target_ip) for packet in packets)
    assert len(packets) == len(stream.replies)
    told = next(packet for packet in packets if packet.gratuitous)
    assert (told.sender_mac, told.from_mac) == ("02:00:00:00:00:99",) * 2
    assert told.to_mac == "ff:ff:ff:ff:ff:ff"


def test_hearing_takes_as_long_as_asked_and_silence_is_an_answer(near: Vantage) -> None:
    """Nothing said about an address within the time is an answer without packets."""
    reply = near.hear_arp(NOBODY, PATIENCE)

    assert reply.ok
    assert reply.packets == ()
    assert reply.seconds >= PATIENCE


def test_packets_are_refused_without_the_capability(places: tuple[Place, Place]) -> None:
    """A place without CAP_NET_RAW says so: in the reply, or when a stream is to begin."""
    if not (setpriv := shutil.which("setpriv")):
        pytest.skip("needs setpriv to drop a capability")
    drop = (setpriv, "--inh-caps=-net_raw", "--bounding-set=-net_raw")
    argv = [*places[0].inside, *drop, sys.executable, "-I", PROBE, "channel"]
    with ExitStack() as stack:
        bare = stack.enter_context(Vantage("bare", lambda: ProcessChannel(argv)))

        assert "CAP_NET_RAW" in bare.who_has(FAR).detail
        with pytest.raises(InfrastructureError, match="CAP_NET_RAW"):
            stack.enter_context(bare.watch_arp(FAR))

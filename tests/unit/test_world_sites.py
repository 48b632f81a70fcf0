"""The sites of the world: their records, and the server that tells them apart."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import closing
from importlib import resources
from pathlib import Path

import dns.zone
import pytest

from servicelab.errors import UsageError
from servicelab.vantage import Vantage
from servicelab.vantage.process_channel import ProcessChannel
from servicelab.verdict import Deadline, eventually
from servicelab.world import Sites, read_sites

PROBE = str(resources.files("servicelab.vantage") / "probe" / "servicelab_probe.py")
SERVER = str(resources.files("servicelab.world") / "virtual_hosts.py")
ADDRESSES = {"edge-1": "192.0.2.1", "edge-2": "192.0.2.2"}
HERE = "127.0.0.1"


def test_the_sites_that_come_with_servicelab_are_sound() -> None:
    """Every name is reserved for documentation and leads to a server that has the site."""
    sites = read_sites()

    assert set(sites.zones) <= {"example.com", "example.net", "example.org"}
    for name in {site for sites_ in sites.servers.values() for site in sites_}:
        assert sites.servers_of(name), f"{name} leads nowhere"
        assert all(name in sites.servers[server] for server in sites.servers_of(name))


def test_a_name_leads_through_its_aliases_to_its_servers() -> None:
    """The chain of CNAMEs ends at the name that has addresses."""
    sites = read_sites()

    assert sites.chain("www.example.com") == ("www.example.com", "www.edge.example.net")
    assert sites.servers_of("www.example.com") == ("edge-1", "edge-2")
    assert sites.servers_of("nobody.example.com") == ()


def test_zone_files_are_read_by_another_program() -> None:
    """dnspython reads each zone as written: its SOA and NS, the aliases, the addresses."""
    sites = read_sites()
    zones = {
        name: dns.zone.from_text(sites.zone_file(name, ADDRESSES), name, relativize=False)
        for name in sites.zones
    }

    alias = zones["example.com"].find_rdataset("www.example.com.", "CNAME")
    assert [str(each) for each in alias] == ["www.edge.example.net."]
    edge = zones["example.net"].find_rdataset("www.edge.example.net.", "A")
    assert {str(each) for each in edge} == set(ADDRESSES.values())
    assert all(zone.get_soa() for zone in zones.values())


def test_sites_that_lead_nowhere_are_refused(tmp_path: Path) -> None:
    """A name outside the zones, a server that is not there, a missing table: one sentence each."""
    with pytest.raises(UsageError, match=r"shop\.example is in none"):
        Sites(("example.com",), {"a": ()}, {}, {"shop.example": ("a",)})
    with pytest.raises(UsageError, match="'b' that is not one"):
        Sites(("example.com",), {"a": ()}, {}, {"www.example.com": ("b",)})
    (tmp_path / "sites.toml").write_text("zones = []")
    with pytest.raises(UsageError, match="servers"):
        read_sites(tmp_path / "sites.toml")


@pytest.fixture(scope="module")
def local() -> Iterator[Vantage]:
    """A vantage point on this machine."""
    with Vantage("here", lambda: ProcessChannel([sys.executable, PROBE, "channel"])) as vantage:
        yield vantage


@pytest.fixture(scope="module")
def port(local: Vantage) -> Iterator[int]:
    """A web server with two sites, on a port of its own."""
    with closing(socket.socket()) as free:
        free.bind((HERE, 0))
        number = free.getsockname()[1]
    script = Path(SERVER).read_text().replace("PORT = 80", f"PORT = {number}")
    argv = [sys.executable, "-I", "-c", script, "edge-1", "www.example.com", "docs.example.com"]
    with subprocess.Popen(argv) as server:
        eventually(
            lambda: local.tcp(HERE, number),
            lambda reply: reply.ok,
            deadline=Deadline("server_in_test", 20),
            expecting="the web server to listen",
            every=0.05,
        )
        yield number
        server.terminate()


@pytest.mark.parametrize("host", ["www.example.com", "DOCS.example.com", "www.example.com:8080"])
def test_a_site_is_found_by_its_host_header(local: Vantage, port: int, host: str) -> None:
    """In whatever case, with or without a port; it says who answers and which client is seen."""
    (reply,) = local.web(HERE, port, host=host)

    assert (reply.status, reply.pod, reply.client_ip) == (200, "edge-1", HERE)
    greeting = local.get(f"http://{HERE}:{port}/", host=host)
    assert greeting.text == f"Welcome to {host.lower().removesuffix(':8080')}\n"


def test_any_other_host_is_not_found(local: Vantage, port: int) -> None:
    """Another Host header gets 404 on every page, a page that no site has too."""
    for path in ("/", "/hostname"):
        reply = local.get(f"http://{HERE}:{port}{path}", host="web.default.svc.cluster.local")
        assert reply.status == 404
        assert reply.pod is None
        assert "has no site 'web.default.svc.cluster.local'" in reply.text
    assert local.get(f"http://{HERE}:{port}/nowhere", host="www.example.com").status == 404

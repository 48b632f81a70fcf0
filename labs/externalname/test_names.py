"""The name of a site outside: what DNS says, and who answers."""

from __future__ import annotations

from servicelab import claim

SITE = "www.example.com"


@claim("EN-02")
def test_the_name_stands_for_the_other_name(site, world):
    """DNS answers a CNAME to the external name, then what that name itself resolves to."""
    service = site.lab.service("site")

    through = site.answer(service)
    direct = site.client.dns(SITE, server=site.dns)
    public = site.client.dns(SITE, server=world.name_server)

    first, *rest = through.answer
    assert (first.name, first.rdtype) == (f"{service.dns_name}.", "CNAME")
    assert first.data == f"{SITE}.", f"the name stands for {first.data}"
    assert public.authoritative, "the name server outside does not speak for its zone"
    chain = {(each.name, each.rdtype, each.data) for each in rest}
    for reply in (direct, public):
        assert chain == {(each.name, each.rdtype, each.data) for each in reply.answer}
    assert set(through.addresses) == world.addresses(SITE)
    short, full = site.client.resolve("site"), site.client.resolve(SITE)
    assert set(short.addresses) == set(full.addresses) == world.addresses(SITE)
    assert short.canonical_name == full.canonical_name, "the Pod's resolver tells them apart"


@claim("EN-04")
def test_the_site_answers_to_its_own_host_header(site, world):
    """The server outside answers; it finds the site by the Host header, not by the Service's."""
    url = f"http://{site.lab.service('site').dns_name}/hostname"

    own, ours = site.client.get(url, host=SITE), site.client.get(url)

    assert own.pod in world.sites.servers_of(SITE), f"with the site's own Host: {own.outcome}"
    assert own.peer.ip == world.servers[own.pod], f"{own.pod} answers at {own.peer.ip}"
    assert ours.status == 404, f"with the Service's name as Host: {ours.outcome}"
    assert "has no site" in ours.text


@claim("EN-05")
def test_ping_reaches_the_address_outside(site, world):
    """A ping of the Service's name is answered by the site's own address."""
    echo = site.client.ping("site")

    assert echo.ok, f"the ping of site met {echo.outcome}"
    assert echo.answered_by in world.addresses(SITE), f"{echo.answered_by} answered"

"""What the number of Services costs: a connection, a change, kube-proxy's memory."""

from __future__ import annotations

from fractions import Fraction
from operator import itemgetter
from statistics import fmean, median

import pytest

from servicelab import claim
from servicelab.verdict import quantities
from servicelab.verdict.chart import Chart, point

#: The fastest tenth of the connections: those that nothing else on the machine got in the way of.
UNDISTURBED = Fraction(1, 10)
#: A connection grows with the number of Services if 1,000 of them add this share to what it takes
#: with few, or more. iptables mode adds some 40 %.
GROWS = 0.20
#: Bytes of memory that kube-proxy keeps for each Service, at the least: the two objects alone are
#: larger as text.
LEAST_MEMORY = 1000

pytestmark = pytest.mark.disruptive


@claim("SCL-01")
def test_connecting_takes_longer_the_more_services_there_are(climb, verdict):
    """In iptables mode a connection to the last Service takes longer the more Services there are;
    in the other modes it does not."""
    stops = climb.stops
    verdict.plot(
        Chart(
            f"time to connect, {climb.mode} mode",
            "Services",
            "µs",
            {
                "to the last Service": [quantile(size, stop.last) for size, stop in stops.items()],
                "to the first": [quantile(size, stop.first) for size, stop in stops.items()],
            },
        )
    )
    few, many = min(stops), max(stops)
    slope = quantities.slope({size: stop.against_yardstick for size, stop in stops.items()})
    base = quantities.quantile_bounds(stops[few].against_yardstick).middle
    low, middle, high = (1000 * each / base for each in (slope.low, slope.middle, slope.high))
    took = quantities.quantile_bounds(stops[few].last, UNDISTURBED).middle
    told = (
        f"1,000 Services add {middle:.0%} ({low:.0%} to {high:.0%}) to the "
        f"{took * 1e6:.0f} µs that connecting takes with {few}, measured up to {many:,}"
    )
    assert low > GROWS or high < GROWS, f"can't tell whether that is {GROWS:.0%} or more: {told}"
    grows = climb.mode == "iptables"
    assert (low > GROWS) == grows, (
        f"in {climb.mode} mode it should {'grow' if grows else 'stay flat'}: {told}"
    )
    if grows:
        pairs = list(zip(stops[many].first, stops[many].last, strict=True))
        earlier = quantities.first_is_less(pairs)
        assert earlier, f"the rule that is met first should be faster: {earlier or 'no difference'}"
        told = f"{told}; to the first it takes less than to the last: {earlier}"
    verdict.holds(told)


@claim("SCL-02")
def test_what_a_change_costs(climb, verdict):
    """With many Services, one more is brought into the kernel sooner in nftables and ipvs mode than
    in iptables mode."""
    modes = (climb.mode, climb.other)
    stops, many = climb.stops, max(climb.stops)
    verdict.plot(
        Chart(
            "kube-proxy's time for one more Service",
            "Services",
            "ms",
            by_mode(climb, lambda spent: 1000 * median(spent.sync_seconds))
            | {
                f"until a client gets through, {climb.mode}": [
                    point(size, 1000 * median(stop.works_after)) for size, stop in stops.items()
                ]
            },
        )
    )
    own, compared = (spent.sync_seconds for spent in stops[many].spent)
    told = (
        f"with {many:,} Services one more takes {median(own) * 1000:.0f} ms in {modes[0]} and "
        f"{median(compared) * 1000:.0f} ms in {modes[1]} mode; with {min(stops)} "
        f"{median(stops[min(stops)].spent[0].sync_seconds) * 1000:.0f} and "
        f"{median(stops[min(stops)].spent[1].sync_seconds) * 1000:.0f} ms; all of them after a "
        f"restart {climb.restart_seconds[0]:.1f} and {climb.restart_seconds[1]:.1f} s"
    )
    judged = quantities.lesser(own, compared)
    assert judged is not None, f"neither mode is the faster one: {told}"
    iptables_is_slower = judged.holds != (modes[0] == "iptables")
    (verdict.holds if iptables_is_slower else verdict.false)(f"{told}; {judged}")


@claim("SCL-03")
def test_what_kube_proxy_needs(climb, verdict):
    """With more Services kube-proxy holds more memory, and needs more processor time for a change
    of one of them."""
    stops, few, many = climb.stops, min(climb.stops), max(climb.stops)
    verdict.plot(
        Chart(
            "kube-proxy's memory",
            "Services",
            "MB",
            by_mode(climb, lambda spent: spent.memory_bytes / 1e6),
        )
    )
    verdict.plot(
        Chart(
            "kube-proxy's processor time for one more Service",
            "Services",
            "ms",
            by_mode(climb, lambda spent: 1000 * fmean(spent.cpu_seconds)),
        )
    )
    before, after = stops[few].spent[0], stops[many].spent[0]
    each = (after.memory_bytes - before.memory_bytes) / (many - few)
    told = (
        f"{before.memory_bytes / 1e6:.0f} MB with {few} Services, "
        f"{after.memory_bytes / 1e6:.0f} MB with {many:,}"
    )
    assert each > LEAST_MEMORY, f"a Service should take {LEAST_MEMORY} B or more: {told}"
    cpu = fmean(before.cpu_seconds) * 1000, fmean(after.cpu_seconds) * 1000
    told = f"{told}; one more Service takes {cpu[0]:.1f} and {cpu[1]:.1f} ms of a processor"
    judged = quantities.lesser(before.cpu_seconds, after.cpu_seconds)
    assert judged, f"a change should take more with more Services: {told}"
    verdict.holds(f"{told}: {judged}")


def by_mode(climb, figure):
    """A figure of what was spent at each stop, by mode; in the order of the modes' names, whichever
    is under test."""
    modes = sorted(enumerate((climb.mode, climb.other)), key=itemgetter(1))
    return {
        mode: [point(size, figure(stop.spent[number])) for size, stop in climb.stops.items()]
        for number, mode in modes
    }


def quantile(size, seconds):
    """The fastest tenth at one size, in microseconds, and what it lies between."""
    found = quantities.quantile_bounds(seconds, UNDISTURBED)
    return point(size, 1e6 * found.middle, 1e6 * found.low, 1e6 * found.high)

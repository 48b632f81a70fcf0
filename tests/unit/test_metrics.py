"""kube-proxy's metrics are read as it writes them."""

from __future__ import annotations

from servicelab.observe.metrics import Metrics
from servicelab.observe.proxy_effort import read_effort

TOLD = """\
# HELP kubeproxy_sync_proxy_rules_duration_seconds [ALPHA] SyncProxyRules latency in seconds
# TYPE kubeproxy_sync_proxy_rules_duration_seconds histogram
kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family="IPv4",le="0.001"} 0
kubeproxy_sync_proxy_rules_duration_seconds_bucket{ip_family="IPv4",le="+Inf"} 7
kubeproxy_sync_proxy_rules_duration_seconds_sum{ip_family="IPv4"} 0.75
kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv4"} 7
kubeproxy_sync_proxy_rules_duration_seconds_sum{ip_family="IPv6"} 9
kubeproxy_sync_proxy_rules_duration_seconds_count{ip_family="IPv6"} 9
kubeproxy_sync_full_proxy_rules_duration_seconds_sum{ip_family="IPv4"} 0.5
kubeproxy_sync_full_proxy_rules_duration_seconds_count{ip_family="IPv4"} 1
kubeproxy_sync_proxy_rules_last_timestamp_seconds{ip_family="IPv4"} 1.7951e+09
kubeproxy_sync_proxy_rules_last_queued_timestamp_seconds{ip_family="IPv4"} 1.7950e+09
process_cpu_seconds_total 1.25
process_resident_memory_bytes 5.0331648e+07
process_start_time_seconds 1.79505e+09
"""


def test_effort() -> None:
    """Times, counts and memory are IPv4's and the process's, with nothing waiting."""
    effort = read_effort(TOLD)

    assert (effort.syncs, effort.sync_seconds) == (7, 0.75)
    assert (effort.full_syncs, effort.full_seconds) == (1, 0.5)
    assert (effort.cpu_seconds, effort.memory_bytes) == (1.25, 48 << 20)
    assert effort.started == 1.79505e9
    assert not effort.waiting


def test_a_change_that_waits() -> None:
    """What was queued after the last sync is still to be done."""
    later = TOLD.replace("1.7950e+09", "1.7952e+09")

    assert read_effort(later).waiting


def test_ipvs_tells_no_full_syncs() -> None:
    """A metric that a mode does not have counts as zero."""
    without = "".join(f"{line}\n" for line in TOLD.splitlines() if "full" not in line)

    assert read_effort(without).full_syncs == 0


def test_values_of_all_labels_are_added_up() -> None:
    """Without a label all samples of the name count, with one only those that have it."""
    metrics = Metrics('a{of="x",le="1"} 2\na{of="y"} 3 1700000000\nb 5\nb_total NaN\n')

    assert metrics.value("a") == 5
    assert metrics.value("a", of="x") == 2
    assert metrics.value("a", of="z") == 0
    assert "b" in metrics
    assert "c" not in metrics


def test_lines_that_are_no_samples_are_left_out() -> None:
    """Comments and damage are no figures."""
    metrics = Metrics("# a 1\n\na\na 1 2 3\nä 1\na one\n")

    assert metrics.value("a") == 0

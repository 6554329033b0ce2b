"""The daemon's figures for /metrics, read at the moment of the scrape."""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from siprec.daemon.calls import Calls
from siprec.daemon.follow import CatalogProcess
from siprec.daemon.keeper import Keeper
from siprec.media.supervisor import MediaSupervisor
from siprec.net.endpoint import SipEndpoint
from siprec.rtp.ports import PortAllocator
from siprec.storage.space import SpaceAccount

_WORKER_COUNTERS = (
    "packets",
    "batches",
    "pool_refused_rows",
    "stalled_ticks",
    "receive_errors",
    "clock_steps",
    "rtcp_malformed",
    "dtmf_malformed",
    "srtp_searches",
    "dump_errors",
    "cpu_s",
)
_WORKER_GAUGES = ("recordings", "legs", "pool_free_blocks", "tick_s_max")


@dataclass(slots=True, kw_only=True)
class Figures:
    """Where the figures come from."""

    calls: Calls
    media: MediaSupervisor
    endpoint: SipEndpoint
    ports: PortAllocator
    space: SpaceAccount
    follower: CatalogProcess
    keeper: Keeper

    def read(self) -> Iterable[Metric]:
        """All metric families but those of the process and of the alarms."""
        yield from self._calls()
        yield from self._resources()
        yield from self._sip()
        yield from self._workers()

    def _calls(self) -> Iterable[Metric]:
        calls = self.calls
        yield GaugeMetricFamily("siprec_calls", "Calls being recorded.", len(calls.by_dialog))
        yield GaugeMetricFamily("siprec_capacity_calls", "Calls that fit.", calls.capacity.calls)
        yield GaugeMetricFamily("siprec_draining", "1 while new calls are refused.", int(calls.draining))
        yield CounterMetricFamily("siprec_calls_admitted", "Calls recorded.", calls.admitted)
        refused = CounterMetricFamily("siprec_calls_refused", "Calls not recorded.", labels=["status"])
        for status, count in calls.refused.items():
            refused.add_metric([status], count)
        yield refused

    def _resources(self) -> Iterable[Metric]:
        ports = self.ports
        yield GaugeMetricFamily("siprec_port_pairs", "Port pairs of the range.", ports.total)
        yield GaugeMetricFamily(
            "siprec_port_pairs_free", "Port pairs free now.", ports.available(time.monotonic())
        )
        yield CounterMetricFamily(
            "siprec_ports_skipped", "Ports found bound by somebody else.", ports.skipped
        )
        yield GaugeMetricFamily(
            "siprec_space_reserved_bytes", "Space that running calls may use.", self.space.outstanding
        )
        yield CounterMetricFamily(
            "siprec_keeper_deaths", "Ends of the process that writes documents.", self.keeper.deaths
        )
        status = self.follower.status()
        yield GaugeMetricFamily(
            "siprec_catalog_lag_bytes", "Journal not yet in the catalogue.", status.lag_bytes
        )
        yield GaugeMetricFamily(
            "siprec_catalog_away", "1 while the catalogue does not answer.", int(bool(status.last_error))
        )

    def _sip(self) -> Iterable[Metric]:
        events = CounterMetricFamily(
            "siprec_sip", "SIP messages and faults, by what and which.", labels=["event", "label"]
        )
        for counters in (self.endpoint.stack.counters, self.endpoint.counters):
            for (name, label), count in counters.items():
                events.add_metric([name, label], count)
        yield events
        yield GaugeMetricFamily(
            "siprec_sip_transactions", "SIP transactions.", self.endpoint.stack.transaction_count
        )
        yield GaugeMetricFamily("siprec_sip_connections", "SIP streams.", self.endpoint.connections)

    def _workers(self) -> Iterable[Metric]:
        deaths = CounterMetricFamily("siprec_worker_deaths", "Media workers that died.", labels=["worker"])
        families: list[Metric] = [deaths]
        for worker in self.media.workers:
            deaths.add_metric([str(worker.number)], worker.deaths)
        for name in _WORKER_COUNTERS:
            counter = CounterMetricFamily(f"siprec_worker_{name}", "By media worker.", labels=["worker"])
            for worker in self.media.workers:
                counter.add_metric([str(worker.number)], worker.counters.get(name, 0))
            families.append(counter)
        for name in _WORKER_GAUGES:
            gauge = GaugeMetricFamily(f"siprec_worker_{name}", "By media worker.", labels=["worker"])
            for worker in self.media.workers:
                gauge.add_metric([str(worker.number)], worker.counters.get(name, 0))
            families.append(gauge)
        return families

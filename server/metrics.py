"""Prometheus metrics; a registry of its own per application, so that tests do not share one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from engine.client import EngineStats

_SECONDS = (0.01, 0.025, 0.05, 0.1, 0.15, 0.2, 0.3, 0.5, 0.75, 1.0, 2.0, 5.0, 10.0)
_RATIOS = (0.02, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0, 1.5, 3.0)
_LEADS = (0.0, 0.1, 0.25, 0.5, 1.0, 2.0, 4.0, 10.0, 30.0, 60.0)

CONTENT_TYPE = CONTENT_TYPE_LATEST


class Metrics:
    """Everything `/metrics` shows."""

    def __init__(self) -> None:
        registry = CollectorRegistry()
        self.registry = registry
        self.ttfa_seconds = Histogram(
            "tts_ttfa_seconds",
            "First text received to first packet written",
            ["route", "voice"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.queue_seconds = Histogram(
            "tts_queue_seconds",
            "First sentence cut to its first audio from the engine",
            buckets=_SECONDS,
            registry=registry,
        )
        self.rtf = Histogram(
            "tts_rtf",
            "Time a sentence spent in the engine / its audio",
            buckets=_RATIOS,
            registry=registry,
        )
        self.lead_seconds = Histogram(
            "tts_lead_seconds",
            "Audio ahead of playback, five times a second per context",
            buckets=_LEADS,
            registry=registry,
        )
        self.cancel_stop_seconds = Histogram(
            "tts_cancel_stop_seconds",
            "Cancel received to synthesis stopped",
            buckets=_SECONDS,
            registry=registry,
        )
        self.active_contexts = Gauge("tts_active_contexts", "Open contexts", registry=registry)
        self.connections = Gauge("tts_connections", "Open sessions", registry=registry)
        self.underruns = Counter(
            "tts_underrun", "Packets sent after the listener ran out", registry=registry
        )
        self.contexts = Counter(
            "tts_contexts", "Contexts by how they ended", ["end"], registry=registry
        )
        self.errors = Counter("tts_errors", "Errors sent to clients", ["code"], registry=registry)
        self.chars = Counter("chars", "Characters spoken", ["key"], registry=registry)
        self.audio_seconds = Counter("tts_audio_seconds", "Audio sent", registry=registry)
        self.send_buffer_bytes = Gauge(
            "ws_send_buffer_bytes", "Waiting for slow readers, all sessions", registry=registry
        )
        self.loop_lag_seconds = Gauge(
            "loop_lag_seconds", "How late the event loop's last tick was", registry=registry
        )
        self.tasks = Gauge("asyncio_tasks", "Tasks on the event loop", registry=registry)
        self.engine = Gauge(
            "engine_stat", "The engine's own counters and gauges", ["name"], registry=registry
        )
        self.batch_steps = Gauge(
            "gpu_batch_steps", "Decode steps by batch size", ["batch"], registry=registry
        )
        self.step_seconds = Gauge(
            "gpu_step_seconds", "Mean decode step by batch size", ["batch"], registry=registry
        )
        self.capacity = Gauge(
            "tts_capacity_contexts",
            "Contexts the engine was measured to feed in real time; +Inf while not known",
            registry=registry,
        )

    def set_engine(self, stats: EngineStats) -> None:
        """Take over the engine's counters."""
        for field in fields(stats):
            value = getattr(stats, field.name)
            if not isinstance(value, Mapping):
                self.engine.labels(field.name).set(value)
        for batch, count in stats.steps_by_batch.items():
            self.batch_steps.labels(str(batch)).set(count)
        for batch, seconds in stats.step_s_by_batch.items():
            self.step_seconds.labels(str(batch)).set(seconds / stats.steps_by_batch[batch])

    def expose(self) -> bytes:
        """Return the text of `/metrics`."""
        return bytes(generate_latest(self.registry))

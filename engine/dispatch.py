"""Commands onto a worker's methods."""

from __future__ import annotations

from collections.abc import Callable

from engine.messages import (
    Cancel,
    Close,
    Command,
    Event,
    Forget,
    GetStats,
    Grant,
    ReloadVoices,
    StatsReport,
    Submit,
    VoicesLoaded,
)
from engine.worker import Worker


def dispatch(command: Command, worker: Worker, emit: Callable[[Event], None]) -> None:
    """Carry out one command; questions are answered through `emit`."""
    match command:
        case Submit(job):
            worker.submit(job)
        case Cancel(job_id):
            worker.cancel(job_id)
        case Grant(utterance_id, audio_s):
            worker.grant(utterance_id, audio_s)
        case Forget(utterance_id):
            worker.forget(utterance_id)
        case ReloadVoices():
            emit(VoicesLoaded(worker.reload_voices()))
        case GetStats():
            emit(StatsReport(worker.stats()))
        case Close():
            worker.close()

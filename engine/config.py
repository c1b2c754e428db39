"""How the engine runs: which backend, which pack, how many slots and threads."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from engine.backends.fake import FakeScript
from engine.chunking import ChunkSchedule
from engine.errors import InvalidParameter

PRECISIONS = ("fp32", "int8", "auto")


@dataclass(frozen=True, slots=True)
class EngineConfig:
    """Everything an engine needs to start; picklable, so it can start in another process."""

    backend: str = "onnxruntime"  # a name of engine.backends.registry, or "fake"
    pack: Path | None = None  # folder of a model pack; None only for the fake backend
    voices_dir: Path | None = None  # the user's voices, besides those in the pack
    num_slots: int = 8  # sentences decoded at once
    max_jobs: int = 2048  # sentences in the engine, those that wait included; more are refused
    max_positions: int = 1024  # phonemes + tokens one slot holds; 1024 is some 30 s of speech
    precision: str = "fp32"  # of the T2S graphs: fp32, int8, or auto: the faster here
    semantic_threads: int = 1
    acoustic_threads: int = 1
    prefill_threads: int = 1
    first_audio_s: float = 0.25  # when a new utterance counts as late
    schedule: ChunkSchedule = field(default_factory=ChunkSchedule)
    fake: FakeScript | None = None
    fake_voices: int = 2

    def __post_init__(self) -> None:
        if self.precision not in PRECISIONS:
            valid = ", ".join(PRECISIONS)
            raise InvalidParameter("engine.precision", self.precision, valid)
        for name, low, high in (
            ("num_slots", 1, 256),
            ("max_jobs", 1, 100_000),
            ("max_positions", 64, 4000),
            ("semantic_threads", 1, 256),
            ("acoustic_threads", 1, 256),
            ("prefill_threads", 1, 256),
        ):
            value = getattr(self, name)
            if not isinstance(value, int) or not low <= value <= high:
                raise InvalidParameter(f"engine.{name}", value, f"an integer from {low} to {high}")

"""What all utterances of a server share."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Protocol

from engine.audio.watermark import Watermark
from engine.client import EngineClient
from engine.types import Language, Phonemes
from server.metrics import Metrics


class Frontend(Protocol):
    """Text to phonemes, in processes of their own; see engine.text.pool."""

    async def phonemize(
        self, text: str, language: Language, *, digits: str | None = None
    ) -> Phonemes:
        """Return the sentence in the pack's symbols.

        Raises:
            TextError: If it cannot be spoken.
        """
        ...


class FrontendPool(Frontend, Protocol):
    """A Frontend with a life."""

    async def start(self) -> None:
        """Load everything a first sentence needs."""
        ...

    async def close(self) -> None:
        """Stop the processes."""
        ...


@dataclass(frozen=True, slots=True)
class Services:
    """See the module docstring.

    Attributes:
        clock: Seconds, monotonic.
        new_job_id: Unique within the engine's life.
        new_seed: For contexts that give none.
        encoder_pool: Where audio is encoded; None: on the event loop.
        opus_complexity: 0 (fast) to 10.
        synthesis_timeout_s: How long the sentence that is due may give nothing.
        watermark: What every utterance is marked with; None: nothing.
    """

    engine: EngineClient
    frontend: Frontend
    metrics: Metrics
    clock: Callable[[], float]
    new_job_id: Callable[[], int]
    new_seed: Callable[[], int]
    encoder_pool: Executor | None
    opus_complexity: int
    synthesis_timeout_s: float
    watermark: Watermark | None = None

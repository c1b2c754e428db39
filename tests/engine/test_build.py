"""What an engine does before it is ready."""

from __future__ import annotations

import numpy as np

from engine.backends.fake import FakeBackend, FakeScript
from engine.build import meet_lengths
from engine.chunking import ChunkPlan, ChunkSchedule
from engine.latent_stream import LatentStream
from engine.types import FloatArray


class Noted:
    """A fake acoustic model that notes the lengths its decoder is called with."""

    def __init__(self, widths: tuple[int, ...]) -> None:
        self.backend = FakeBackend(FakeScript())
        acoustic = self.backend.acoustic
        self.decode = acoustic.decoder
        self.lengths: list[tuple[int, int, int]] = []
        acoustic.decoder_halo = 11  # type: ignore[misc]
        acoustic.decoder_widths = widths  # type: ignore[misc]
        acoustic.decoder = self.decoder  # type: ignore[method-assign]

    def decoder(
        self, latent: FloatArray, style: FloatArray, before: int = 0, after: int = 0
    ) -> FloatArray:
        """See AcousticModel."""
        self.lengths.append((before, latent.shape[1] - before - after, after))
        return self.decode(latent, style, before, after)


def test_a_decoder_meets_the_lengths_of_sentences_before_it_is_ready() -> None:
    """Nearly every call of a sentence is one it knows; those of very short sentences are not."""
    noted = Noted((16, 28, 50))
    schedule = ChunkSchedule()
    meet_lengths(noted.backend, schedule)
    known = set(noted.lengths)
    assert len(known) == len(noted.lengths) <= 14
    noted.lengths.clear()
    for num_tokens in range(30, 200):
        speak(noted, schedule, num_tokens)
    strange = [lengths for lengths in noted.lengths if lengths not in known]
    assert len(strange) < 0.03 * len(noted.lengths), set(strange)


def test_a_decoder_that_takes_any_length_is_not_called() -> None:
    """It would only start later."""
    noted = Noted(())
    meet_lengths(noted.backend, ChunkSchedule())
    assert noted.lengths == []


def speak(noted: Noted, schedule: ChunkSchedule, num_tokens: int) -> None:
    """Send a first sentence of so many tokens through the decoder, in balanced mode."""
    acoustic = noted.backend.acoustic
    plan = ChunkPlan(schedule, sentence_index=0, lookahead=(4, 4))
    stream = LatentStream(acoustic, np.zeros(1, np.float32))
    tokens: list[int] = []
    frozen = 0
    for number in range(num_tokens + 1):
        chunks = plan.cut(tokens, is_complete=number == num_tokens)
        tokens.append(number)
        for chunk in chunks:
            new, ahead = 2 * chunk.num_new, 2 * len(chunk.tokens) - frozen - 2 * chunk.num_new
            latent = np.zeros((acoustic.latent_dim, new + ahead), np.float32)
            stream.step(latent[:, :new], latent[:, new:])
            frozen += new

"""What a step of the vocoder costs, and what later tokens may still change."""

from __future__ import annotations

import numpy as np
import pytest

from engine.backends.base import PriorStats, TextEncoding
from engine.backends.fake import FakeAcoustic, FakeScript
from engine.model_config import AcousticConfig
from engine.types import FloatArray, IntArray, StreamMode, SynthesisParams
from engine.vocoding import VocoderStream, lookahead
from tests.engine.jobs import phonemes_of

CHUNK = 25
NUM_CHUNKS = 42


class Counting(FakeAcoustic):
    """Notes how much every network is given."""

    def __init__(self) -> None:
        super().__init__(FakeScript())
        self.texts = 0
        self.work: list[tuple[str, int]] = []

    def encode_text(self, phoneme_ids: IntArray, style: FloatArray) -> TextEncoding:
        """See AcousticModel."""
        self.texts += 1
        return super().encode_text(phoneme_ids, style)

    def prior(self, tokens: IntArray, text: TextEncoding) -> PriorStats:
        """See AcousticModel."""
        self.work.append(("prior", len(tokens)))
        return super().prior(tokens, text)

    def flow(self, latent: FloatArray, style: FloatArray) -> FloatArray:
        """See AcousticModel."""
        self.work.append(("flow", latent.shape[1]))
        return super().flow(latent, style)

    def decoder(self, latent: FloatArray, style: FloatArray, *context: int) -> FloatArray:
        """See AcousticModel."""
        self.work.append(("decoder", latent.shape[1]))
        return super().decoder(latent, style, *context)


def start(model: FakeAcoustic, mode: StreamMode, *, speed: float = 1.0) -> VocoderStream:
    """Return a sentence that is about to be spoken."""
    params = SynthesisParams(mode=mode, speed=speed)
    style = np.zeros(8, np.float32)
    return VocoderStream(model, phonemes_of(1, 2, 3), style, sentence_index=0, params=params)


def tokens_of(count: int, *, seed: int = 0) -> IntArray:
    """Return some tokens of the fake backend."""
    return np.random.default_rng(seed).integers(0, 1000, count)


def test_a_model_that_attends_to_everything_waits_for_fewer_tokens() -> None:
    """There more lookahead buys little; one that sees a bounded span waits for nearly all of it."""
    everything, bounded = AcousticConfig(), AcousticConfig(span_back=24, span_ahead=2)
    assert lookahead(StreamMode.BALANCED, everything) == (4, 4)
    assert lookahead(StreamMode.BALANCED, bounded) == (7, 7)
    for config in (everything, bounded):
        assert lookahead(StreamMode.EXACT, config) is None
        assert lookahead(StreamMode.FAST, config) == (2, 4)


@pytest.mark.parametrize("speed", [1.0, 1.25])
@pytest.mark.parametrize("mode", [StreamMode.BALANCED, StreamMode.FAST])
def test_the_fortieth_chunk_costs_what_the_third_does(mode: StreamMode, speed: float) -> None:
    """Every network is given as much, and the text is encoded once."""
    model = Counting()
    stream = start(model, mode, speed=speed)
    found = lookahead(mode, AcousticConfig())
    assert found is not None
    ahead = found[1]
    tokens = tokens_of(NUM_CHUNKS * CHUNK + ahead)
    costs = []
    for end in range(CHUNK, NUM_CHUNKS * CHUNK + 1, CHUNK):
        model.work.clear()
        stream.step(tokens[: end + ahead], CHUNK, final=False)
        costs.append(list(model.work))
    assert [name for name, _ in costs[39]] == ["prior", "flow", "decoder"]
    for (_, late), (_, early) in zip(costs[39], costs[2], strict=True):
        assert late <= early + 1  # at another speed a chunk is a frame longer or shorter
    assert model.texts == 1


def test_the_whole_sentence_is_not_looked_at_again_for_every_chunk() -> None:
    """Exact mode asks the prior encoder once, however many chunks it then gives out."""
    model = Counting()
    stream = start(model, StreamMode.EXACT)
    tokens = tokens_of(100)
    for _ in range(4):
        stream.step(tokens, CHUNK, final=True)
    assert [name for name, _ in model.work].count("prior") == 1


@pytest.mark.parametrize("mode", [StreamMode.BALANCED, StreamMode.FAST])
def test_a_frame_that_left_does_not_depend_on_what_came_later(mode: StreamMode) -> None:
    """Two sentences alike up to the lookahead sound alike up to there, and then differ."""
    ahead = lookahead(mode, AcousticConfig())
    assert ahead is not None
    known = 40 + max(ahead)
    one = tokens_of(100)
    other = np.concatenate([one[:known], tokens_of(100 - known, seed=1)])
    heard = []
    for tokens in (one, other):
        stream = start(FakeAcoustic(FakeScript()), mode)
        parts = [
            stream.step(tokens[: end + max(ahead)], 20, final=end == 80).samples
            for end in (20, 40, 60, 80)
        ]
        heard.append(np.concatenate(parts))
    same = 40 * 2 * 640
    np.testing.assert_array_equal(heard[0][:same], heard[1][:same])
    assert not np.array_equal(heard[0][same:], heard[1][same:])

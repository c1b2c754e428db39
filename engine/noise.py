"""Random numbers as a pure function of where they are used: no generator, no state, no order.

Every draw is addressed by (seed, sentence, stream, position) and read from Philox4x64-10 at that
counter, so a sentence sounds the same however its frames are cut into chunks, whatever else the
server is speaking, and whether it is decoded live or offline. Upstream draws from one global
generator, where any concurrent request changes everybody's audio.

Layout of a stream: the 128-bit key is (seed, stream << 56 | sentence). One step (sampling) or one
frame (latent) owns a run of counter values of its own; the run's words are read in order.
"""

from __future__ import annotations

import threading
from enum import IntEnum

import numpy as np
from numpy.random import Philox
from numpy.typing import NDArray

from engine.types import FloatArray, IntArray

_WORDS_PER_BLOCK = 4  # Philox4x64: one counter value gives four 64-bit words
_MAX_SENTENCE = 2**56


class _Stream(IntEnum):
    """What a stream of numbers is for; streams of one sentence are independent."""

    SAMPLING = 1
    LATENT = 2


class ExponentialDraws:
    """The Exp(1) draws of one sampling step, worked out where and when they are looked at.

    A token is chosen from a few candidates of a thousand: the logarithms of the others would cost
    more than the choice. A device that chooses wants all of them, while it computes the logits.
    """

    def __init__(self, seed: int, sentence: int, step: int, size: int) -> None:
        """Address a step's draws.

        Args:
            seed: Of the utterance, in [0, 2**64).
            sentence: Position of the sentence in its utterance, from 0.
            step: Position of the token among the generated ones, from 0.
            size: Vocabulary; a smaller `size` gives the first values of a larger one.
        """
        self._seed, self._sentence, self._step, self._size = seed, sentence, step, size

    def __getitem__(self, tokens: IntArray | slice) -> FloatArray:
        """Return the draws of these tokens, float32, all > 0."""
        # The step sits in the second counter word: 2**64 words are free for each.
        start = (0, self._step)
        words = _words(self._seed, self._sentence, _Stream.SAMPLING, start, self._size)[tokens]
        # The middle of one of 2**53 cells: never 0 (infinite draw), never 1 (division by zero).
        uniform = ((words >> np.uint64(11)).astype(np.float64) + 0.5) * 2.0**-53
        return (-np.log(uniform)).astype(np.float32)


def exponential(seed: int, sentence: int, step: int, size: int) -> FloatArray:
    """Return all draws of one sampling step, float32 [size]; see ExponentialDraws."""
    return ExponentialDraws(seed, sentence, step, size)[:]


def normal(
    seed: int, sentence: int, first_frame: int, num_frames: int, channels: int
) -> FloatArray:
    """Return the standard normal draws of frames [first_frame, first_frame + num_frames).

    Any cut of the frames gives bit-identical columns.

    Args:
        seed: Of the utterance, in [0, 2**64).
        sentence: Position of the sentence in its utterance, from 0.
        first_frame: From 0 at the sentence's first frame.
        num_frames: How many, >= 0.
        channels: Latent channels.

    Returns:
        float32 [channels, num_frames].
    """
    pairs = (channels + 1) // 2  # one word gives two normals
    blocks = -(-pairs // _WORDS_PER_BLOCK)
    words_per_frame = blocks * _WORDS_PER_BLOCK
    words = _words(
        seed, sentence, _Stream.LATENT, (first_frame * blocks, 0), num_frames * words_per_frame
    )
    words = words.reshape(num_frames, words_per_frame)[:, :pairs]
    return np.ascontiguousarray(_box_muller(words)[:, :channels].T)


def _words(
    seed: int, sentence: int, stream: _Stream, counter: tuple[int, int], count: int
) -> NDArray[np.uint64]:
    """Return `count` words of a stream from `counter` (low word first) on."""
    assert 0 <= sentence < _MAX_SENTENCE
    philox = _own.philox
    philox.state = {
        "bit_generator": "Philox",
        "state": {
            "counter": np.array([*counter, 0, 0], np.uint64),
            "key": np.array([seed, stream << 56 | sentence], np.uint64),
        },
        "buffer": np.zeros(_WORDS_PER_BLOCK, np.uint64),
        "buffer_pos": _WORDS_PER_BLOCK,  # used up: the next word is the counter's first
        "has_uint32": 0,
        "uinteger": 0,
    }
    words: NDArray[np.uint64] = philox.random_raw(count)
    return words


class _Own(threading.local):
    """A thread's generator. Each use sets all there is to it; making one would ask for entropy."""

    def __init__(self) -> None:
        self.philox = Philox()


_own = _Own()


def _box_muller(words: NDArray[np.uint64]) -> FloatArray:
    """Map words [F, W] to normals [F, 2W]: the halves of a word are a radius and an angle."""
    high = (words >> np.uint64(32)).astype(np.float64)
    low = (words & np.uint64(0xFFFFFFFF)).astype(np.float64)
    radius = np.sqrt(-2.0 * np.log((high + 0.5) * 2.0**-32))
    angle = low * (2.0 * np.pi * 2.0**-32)
    pairs = np.stack((radius * np.cos(angle), radius * np.sin(angle)), axis=-1)
    return pairs.reshape(len(words), 2 * words.shape[1]).astype(np.float32)

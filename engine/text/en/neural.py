"""Letters to phones for words no dictionary has: a small GRU encoder-decoder in numpy.

The weights are the 20th checkpoint of g2p_en 2.1.0 (Apache-2.0, see data/NOTICE.md), stored in
half precision: 1497 of 1500 unlisted words are spelled the same as in single precision.
"""

from __future__ import annotations

import io
from collections.abc import Mapping
from functools import cache, lru_cache

import numpy as np

from engine.text import packaged
from engine.types import FloatArray

_MAX_PHONES = 20
_END_LETTER = 2  # letters: <pad> <unk> </s> a..z
_UNKNOWN_LETTER = 1
_START, _STOP = 2, 3  # phones: <pad> <unk> <s> </s> AA0 .. ZH
_PHONES = (
    "_ _ _ _ AA0 AA1 AA2 AE0 AE1 AE2 AH0 AH1 AH2 AO0 AO1 AO2 AW0 AW1 AW2 AY0 AY1 AY2 B CH D DH "
    "EH0 EH1 EH2 ER0 ER1 ER2 EY0 EY1 EY2 F G HH IH0 IH1 IH2 IY0 IY1 IY2 JH K L M N NG OW0 OW1 OW2 "
    "OY0 OY1 OY2 P R S SH T TH UH0 UH1 UH2 UW UW0 UW1 UW2 V W Y Z ZH"
).split()
_NOT_SPOKEN = frozenset({"_", "UW"})  # no stress, not in the packs' inventory: upstream drops it


class NeuralG2P:
    """Greedy decoding of one word.

    Args:
        weights: `enc_*`, `dec_*` and `fc_*` arrays of the checkpoint, float32.
    """

    def __init__(self, weights: Mapping[str, FloatArray]) -> None:
        self._w = weights

    def _gru(self, side: str, x: FloatArray, h: FloatArray) -> FloatArray:
        """Return the next hidden state of the `enc` or `dec` cell. Shapes: x [256], h [256]."""
        w = self._w
        from_input = w[f"{side}_w_ih"] @ x + w[f"{side}_b_ih"]
        from_state = w[f"{side}_w_hh"] @ h + w[f"{side}_b_hh"]
        size = len(h)
        gates = 1 / (1 + np.exp(-(from_input[: 2 * size] + from_state[: 2 * size])))
        reset, update = gates[:size], gates[size:]
        new = np.tanh(from_input[2 * size :] + reset * from_state[2 * size :])
        mixed: FloatArray = (1 - update) * new + update * h
        return mixed

    def phones(self, word: str) -> tuple[str, ...]:
        """Return the phones of `word` (lower case a-z; other characters count as unknown)."""
        hidden = np.zeros(self._w["enc_w_hh"].shape[1], np.float32)
        letters = [ord(c) - 94 if "a" <= c <= "z" else _UNKNOWN_LETTER for c in word]
        for letter in (*letters, _END_LETTER):
            hidden = self._gru("enc", self._w["enc_emb"][letter], hidden)
        phones: list[str] = []
        last = _START
        for _ in range(_MAX_PHONES):
            hidden = self._gru("dec", self._w["dec_emb"][last], hidden)
            last = int(np.argmax(self._w["fc_w"] @ hidden + self._w["fc_b"]))
            if last == _STOP:
                break
            phones.append(_PHONES[last])
        return tuple(phone for phone in phones if phone not in _NOT_SPOKEN)


@cache
def _packaged() -> NeuralG2P:
    with np.load(io.BytesIO(packaged.read("en_g2p.npz"))) as arrays:
        return NeuralG2P({name: arrays[name].astype(np.float32) for name in arrays.files})


@lru_cache(maxsize=4096)
def predict(word: str) -> tuple[str, ...]:
    """Return the phones the packaged network gives `word` (lower case letters), cached."""
    return _packaged().phones(word)

"""The phoneme inventories of GPT-SoVITS packs: names, their order, and what they can speak.

Names and order are facts of the public checkpoints (row i of the text embedding is name i); they
are stored as data, one per line. Set v2 extends v1 at the end, so v1 is the first 322 lines.
Source: text/symbols.py and text/symbols2.py @48b1a01, executed and compared.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cache
from types import MappingProxyType
from typing import get_args

import numpy as np

from engine.errors import InvalidParameter, TextError
from engine.model_config import SymbolSet
from engine.text import packaged
from engine.text.languages import how_to_speak
from engine.types import IntArray, Language

UNKNOWN = "UNK"  # what a phone outside the inventory is spoken as
PUNCTUATION = ("!", "?", "…", ",", ".", "-")  # the marks every language shares

_SIZES: Mapping[SymbolSet, int] = {"v1": 322, "v2": 732}
_LANGUAGES: Mapping[SymbolSet, frozenset[Language]] = {
    "v1": frozenset({Language.ZH, Language.EN, Language.JA}),
    "v2": frozenset({Language.ZH, Language.EN, Language.JA, Language.KO, Language.YUE}),
}


@dataclass(frozen=True, slots=True)
class SymbolTable:
    """One inventory.

    Attributes:
        symbol_set: Its name in a model pack.
        names: Name of every id, in order.
        ids: Id of every name.
        languages: What it has phonemes for.
    """

    symbol_set: SymbolSet
    names: tuple[str, ...]
    ids: Mapping[str, int]
    languages: frozenset[Language]

    def __len__(self) -> int:
        return len(self.names)

    def __contains__(self, name: object) -> bool:
        return name in self.ids

    def known(self, name: str) -> str:
        """Return `name`, or UNKNOWN if the inventory lacks it, as upstream does."""
        return name if name in self.ids else UNKNOWN

    def encode(self, names: Iterable[str]) -> IntArray:
        """Return the ids of `names`, int64 [P]; a name that is not in the set becomes UNKNOWN."""
        unknown = self.ids[UNKNOWN]
        return np.array([self.ids.get(name, unknown) for name in names], dtype=np.int64)

    def decode(self, ids: Iterable[int]) -> tuple[str, ...]:
        """Return the names of `ids`.

        Raises:
            InvalidParameter: An id outside the inventory.
        """
        names = []
        for index in ids:
            if not 0 <= index < len(self.names):
                raise InvalidParameter("phoneme id", int(index), f"0 to {len(self.names) - 1}")
            names.append(self.names[index])
        return tuple(names)

    def require(self, language: Language) -> None:
        """Check that `language` can be spoken with this inventory.

        Raises:
            TextError: It cannot; names the languages that can, and how to get a model that can.
        """
        if language is not Language.AUTO and language not in self.languages:
            able = ", ".join(sorted(self.languages))
            raise TextError(
                f"a model with symbol set {self.symbol_set} cannot speak {language}, only {able}; "
                f"for one that can: {how_to_speak(language)}"
            )


@cache
def symbol_table(symbol_set: SymbolSet) -> SymbolTable:
    """Return the inventory named `symbol_set`.

    Raises:
        InvalidParameter: There is no such set.
    """
    if symbol_set not in _SIZES:
        raise InvalidParameter("symbol_set", symbol_set, ", ".join(get_args(SymbolSet)))
    names = tuple(packaged.read("symbols.txt").decode("utf-8").split("\n")[: _SIZES[symbol_set]])
    assert len(set(names)) == _SIZES[symbol_set]
    ids = MappingProxyType({name: index for index, name in enumerate(names)})
    return SymbolTable(symbol_set, names, ids, _LANGUAGES[symbol_set])

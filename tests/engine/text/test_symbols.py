from __future__ import annotations

import hashlib

import numpy as np
import pytest

from engine.errors import InvalidParameter, TextError
from engine.model_config import SymbolSet
from engine.text.symbols import PUNCTUATION, UNKNOWN, symbol_table
from engine.types import Language

# sha256 of "\n".join(symbols) after executing upstream's symbols.py / symbols2.py @48b1a01.
UPSTREAM = {
    "v1": (322, "f7c3b280b9cc519b0829a6f182fcdd208643a07f1e20c1ab2bf4fc9e8e9a7ca6"),
    "v2": (732, "0771f6cd6f6201e8c2b0de921dc69cc04caf3f346c599d4a41413967d5674da7"),
}


@pytest.mark.parametrize("symbol_set", ["v1", "v2"])
def test_names_and_order_are_upstreams(symbol_set: SymbolSet) -> None:
    """Row i of a checkpoint's text embedding is our name i."""
    table = symbol_table(symbol_set)
    size, digest = UPSTREAM[symbol_set]
    assert len(table) == size
    assert hashlib.sha256("\n".join(table.names).encode()).hexdigest() == digest


@pytest.mark.parametrize("symbol_set", ["v1", "v2"])
def test_ids_and_names_are_inverse(symbol_set: SymbolSet) -> None:
    """Decoding what was encoded gives the same names, with no id used twice."""
    table = symbol_table(symbol_set)
    ids = table.encode(table.names)
    assert ids.dtype == np.int64
    assert ids.tolist() == list(range(len(table)))
    assert table.decode(ids.tolist()) == table.names


def test_unknown_names_become_unk() -> None:
    """A phone the set lacks is spoken as UNK and never raises."""
    table = symbol_table("v1")
    assert table.decode(table.encode(["AH0", "ㄱ", "nonsense"]).tolist()) == (
        "AH0",
        UNKNOWN,
        UNKNOWN,
    )
    assert table.known("ㄱ") == UNKNOWN
    assert symbol_table("v2").known("ㄱ") == "ㄱ"


def test_every_set_has_the_shared_punctuation() -> None:
    """All languages end sentences with the same marks."""
    assert all(mark in symbol_table(name) for name in ("v1", "v2") for mark in PUNCTUATION)


def test_ids_outside_the_set_are_refused() -> None:
    """An id of another inventory is a caller's mistake and is named."""
    with pytest.raises(InvalidParameter, match="phoneme id is 400, valid: 0 to 321"):
        symbol_table("v1").decode([400])


def test_languages_depend_on_the_set() -> None:
    """v1 models have no Korean or Cantonese phonemes."""
    with pytest.raises(TextError, match="v1 cannot speak ko, only en, ja, zh"):
        symbol_table("v1").require(Language.KO)
    symbol_table("v2").require(Language.KO)
    symbol_table("v1").require(Language.AUTO)


def test_an_unknown_set_is_refused() -> None:
    """The message lists the sets that exist."""
    with pytest.raises(InvalidParameter, match="valid: v1, v2"):
        symbol_table("v9")  # type: ignore[arg-type]

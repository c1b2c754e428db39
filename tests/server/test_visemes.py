"""Mouth shapes."""

from __future__ import annotations

import pytest

from engine.text.symbols import symbol_table
from server.visemes import SILENCE, viseme

# The set of the Oculus lip-sync SDK, which avatars are made for.
OCULUS = set("sil PP FF TH DD kk CH SS nn RR aa E ih oh ou".split())
PAUSES = set("! , - . ? … [ ] SP SP2 SP3 UNK _ 停 空 cl".split())


def test_every_symbol_of_every_pack_has_a_shape() -> None:
    """Only pauses are silent; a symbol that is added must be given a shape."""
    names = {*symbol_table("v2").names, *symbol_table("v1").names}
    silent = {name for name in names if viseme(name) == SILENCE}
    assert silent <= PAUSES
    assert {viseme(name) for name in names} == OCULUS


@pytest.mark.parametrize(
    ("symbol", "shape"),
    [
        *(("b", "PP"), ("iang4", "aa"), ("i01", "ih"), ("ir4", "ih"), ("v3", "ou")),
        *(("AA1", "aa"), ("IY0", "ih"), ("DH", "TH"), ("er2", "RR"), ("ER0", "RR")),
        *(("Yaang5", "aa"), ("Yyun4", "ou"), ("Yng", "nn"), ("Yj", "ih"), ("Yb", "PP")),
        *(("ㅗ", "oh"), ("SP2", "sil"), ("nonsense", "sil"), ("Y?", "sil")),
    ],
)
def test_shapes(symbol: str, shape: str) -> None:
    """One of each inventory."""
    assert viseme(symbol) == shape

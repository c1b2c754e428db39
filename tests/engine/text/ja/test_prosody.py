from __future__ import annotations

import pytest

from engine.text.ja.openjtalk import Label
from engine.text.ja.prosody import moras

SILENCE = Label("sil", -50, -50, -50, -50)


def phrase(phones: list[tuple[str, int]], accent: int) -> list[Label]:
    """Return the labels of one accent phrase; a phone comes with its mora, from 1."""
    count = phones[-1][1]
    return [Label(p, at - accent, at, count - at + 1, count) for p, at in phones]


@pytest.mark.parametrize(
    ("accent", "expected"),
    [
        (1, "k a ] m e r a"),
        (2, "k a [ m e ] r a"),
        (3, "k a [ m e r a"),
        (0, "k a [ m e r a"),
    ],
)
def test_pitch_falls_after_the_nucleus(accent: int, expected: str) -> None:
    """It rises after the first mora unless it falls there; at the end there is no mark."""
    phones = [("k", 1), ("a", 1), ("m", 2), ("e", 2), ("r", 3), ("a", 3)]
    nucleus = accent or 3
    labels = phrase(phones, nucleus)
    groups = moras([SILENCE, *labels, SILENCE])
    assert " ".join(symbol for group in groups for symbol in group) == expected
    assert len(groups) == 3


def test_a_border_stands_between_phrases() -> None:
    """It takes the place of every other mark; a pause is a group by itself."""
    one = phrase([("a", 1), ("N", 2)], 1)
    two = phrase([("cl", 1), ("U", 2)], 2)
    pause = Label("pau", -50, -50, -50, -50)
    assert moras([SILENCE, *one, *two, pause, *one, SILENCE]) == [
        ["a", "]"], ["N", "#"], ["cl", "["], ["u"], ["_"], ["a", "]"], ["N"],
    ]  # fmt: skip


def test_a_full_context_line_is_parsed() -> None:
    """Fields of a pause are unknown, not zero."""
    line = "k^a-N+n=i/A:-1+3+2/B:xx-xx_xx/C:09_xx+xx/D:xx+xx_xx/E:xx_xx!xx_xx-xx/F:5_4#0_xx@1"
    assert Label.parse(line) == Label("N", -1, 3, 2, 5)
    silent = "xx^xx-sil+k=o/A:xx+xx+xx/B:xx-xx_xx/C:xx_xx+xx/D:xx+xx_xx/E:xx/F:xx_xx#xx_xx@xx"
    assert Label.parse(silent) == SILENCE

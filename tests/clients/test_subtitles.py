"""SubRip and plain scripts, read and written."""

from __future__ import annotations

import pytest

from clients.subtitles import Cue, format_srt, parse_script, parse_srt

SRT = """\ufeff2
00:00:05,500 --> 00:00:07,250
<i>Second</i> line,
in {\\an8}two rows.

1
00:00:01.5 --> 00:00:03,000 X1:10 X2:20
第一句。


00:01:00,000 --> 01:02:03,004
No number.
"""


def test_srt_is_read_in_order_of_time() -> None:
    """Numbers are ignored, both decimal marks read, tags kept but not spoken."""
    cues = parse_srt(SRT)
    assert [(cue.number, cue.start_s, cue.end_s) for cue in cues] == [
        (1, 1.5, 3.0),
        (2, 5.5, 7.25),
        (3, 60.0, 3723.004),
    ]
    assert cues[1].spoken == "Second line, in two rows."
    assert cues[1].text == "<i>Second</i> line,\nin {\\an8}two rows."


def test_srt_survives_a_round_trip() -> None:
    """What is written is read as the same."""
    cues = parse_srt(SRT.replace("\n", "\r\n"))
    assert parse_srt(format_srt(cues)) == cues


@pytest.mark.parametrize(
    ("content", "named"),
    [
        ("1\n00:00:05,500 -> 00:00:07,250\nx\n", "line 2"),
        ("Hello\n", "line 1"),
        ("1\n00:00:05,500 --> 00:00:04,250\nx\n", "1.250 s before"),
    ],
)
def test_a_broken_srt_names_the_line(content: str, named: str) -> None:
    """Not a guess at what was meant."""
    with pytest.raises(ValueError, match=named):
        parse_srt(content)


def test_a_script_has_a_cue_a_line() -> None:
    """Empty lines do not count."""
    assert parse_script("one\n\n  two \n") == [Cue(1, "one"), Cue(2, "two")]

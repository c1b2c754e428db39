"""Subtitles (SubRip) and plain scripts: read as timed lines, written back."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

_ARROW = re.compile(
    r"\s*(\d{1,3}):(\d\d):(\d\d)[,.](\d{1,3})\s*-->\s*(\d{1,3}):(\d\d):(\d\d)[,.](\d{1,3}).*"
)
# Tags of the format's dialects: <i>, {\an8}. They are shown, not spoken.
_TAGS = re.compile(r"<[^<>\n]{0,80}>|\{\\[^{}\n]{0,80}\}")


@dataclass(frozen=True, slots=True)
class Cue:
    """One line of a script; times are seconds, None where the script has none."""

    number: int  # from 1, in the order of the script
    text: str  # as it stands in the script, tags included
    start_s: float | None = None
    end_s: float | None = None

    @property
    def spoken(self) -> str:
        """The text without tags, on one line."""
        return " ".join(_TAGS.sub("", self.text).split())


def parse_srt(content: str) -> list[Cue]:
    """Return the cues of a SubRip file, by their start.

    Raises:
        ValueError: Names the line and what is valid.
    """
    cues: list[Cue] = []
    lines = content.removeprefix("\ufeff").splitlines()
    at = 0
    while at < len(lines):
        if not lines[at].strip():
            at += 1
            continue
        first = at
        if lines[at].strip().isdigit() and at + 1 < len(lines):
            at += 1  # the number: players ignore it, and many files have it wrong
        match = _ARROW.fullmatch(lines[at])
        if match is None:
            valid = "a number, then HH:MM:SS,mmm --> HH:MM:SS,mmm"
            raise ValueError(f"line {at + 1} is {lines[at]!r:.80}, valid: {valid}")
        start_s, end_s = _seconds(*match.groups()[:4]), _seconds(*match.groups()[4:])
        if end_s < start_s:
            raise ValueError(
                f"line {first + 1}: the cue ends {start_s - end_s:.3f} s before it starts"
            )
        at += 1
        text = []
        while at < len(lines) and lines[at].strip():
            text.append(lines[at].strip())
            at += 1
        cues.append(Cue(0, "\n".join(text), start_s, end_s))
    ordered = sorted(cues, key=lambda cue: cue.start_s or 0.0)
    return [Cue(i, cue.text, cue.start_s, cue.end_s) for i, cue in enumerate(ordered, 1)]


def parse_script(content: str) -> list[Cue]:
    """Return the lines of a plain text that are not empty, without times."""
    lines = [line.strip() for line in content.removeprefix("\ufeff").splitlines()]
    return [Cue(number, line) for number, line in enumerate(filter(None, lines), 1)]


def format_srt(cues: Iterable[Cue]) -> str:
    """Return a SubRip file; every cue must have its times."""
    return "\n".join(_blocks(cues))


def _blocks(cues: Iterable[Cue]) -> Iterator[str]:
    for number, cue in enumerate(cues, 1):
        assert cue.start_s is not None and cue.end_s is not None
        yield f"{number}\n{_stamp(cue.start_s)} --> {_stamp(cue.end_s)}\n{cue.text}\n"


def _seconds(hours: str, minutes: str, seconds: str, fraction: str) -> float:
    whole = int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    return whole + int(fraction.ljust(3, "0")) / 1000


def _stamp(time_s: float) -> str:
    total_ms = round(time_s * 1000)
    minutes, ms = divmod(total_ms, 60_000)
    return f"{minutes // 60:02}:{minutes % 60:02}:{ms // 1000:02},{ms % 1000:03}"

"""Text that remembers where every character came from.

Cleaning and normalisation rewrite a sentence many times; captions and alignments must still point
into the characters the client sent. `MappedText` carries a source span per character through
substitutions: a replaced match gives all its characters the span of the whole match.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Self

Replacement = str | Callable[[re.Match[str]], str | None]
Rule = tuple[re.Pattern[str], Replacement]


def rule(pattern: str, replacement: Replacement) -> Rule:
    """Return what `MappedText.rewritten` takes."""
    return re.compile(pattern), replacement


@dataclass(frozen=True, slots=True)
class MappedText:
    """A string and, for every character, the half-open source span it was made from.

    Attributes:
        text: The characters as they are now.
        starts: Source offset where the origin of each character begins.
        ends: Source offset just after it.
    """

    text: str
    starts: tuple[int, ...]
    ends: tuple[int, ...]

    def __post_init__(self) -> None:
        assert len(self.text) == len(self.starts) == len(self.ends)

    @classmethod
    def of(cls, text: str, offset: int = 0) -> Self:
        """Return `text` mapped onto itself, its first character at `offset`."""
        length = len(text)
        starts = tuple(range(offset, offset + length))
        return cls(text, starts, tuple(range(offset + 1, offset + length + 1)))

    @classmethod
    def join(cls, parts: Iterable[Self]) -> Self:
        """Return the concatenation of `parts`."""
        parts = list(parts)
        return cls(
            "".join(part.text for part in parts),
            tuple(index for part in parts for index in part.starts),
            tuple(index for part in parts for index in part.ends),
        )

    def __len__(self) -> int:
        return len(self.text)

    def __getitem__(self, window: slice) -> Self:
        return type(self)(self.text[window], self.starts[window], self.ends[window])

    def span(self, start: int, end: int) -> tuple[int, int]:
        """Return the source span of characters `start:end`.

        An empty range lies where its left neighbour ended.
        """
        if start >= end:
            at = self.ends[start - 1] if start else (self.starts[0] if self.starts else 0)
            return at, at
        return min(self.starts[start:end]), max(self.ends[start:end])

    def sub(self, pattern: re.Pattern[str], replacement: Replacement) -> Self:
        """Return a copy with every match of `pattern` replaced.

        Args:
            pattern: What to look for.
            replacement: Literal text (no back-references), or a function of the match; a function
                that returns None leaves the match as it is.
        """
        text: list[str] = []
        starts: list[int] = []
        ends: list[int] = []
        done = 0
        for match in pattern.finditer(self.text):
            new = replacement if isinstance(replacement, str) else replacement(match)
            if new is None or new == match.group():
                continue
            begin, end = match.span()
            source = self.span(begin, end)
            text += (self.text[done:begin], new)
            starts += (*self.starts[done:begin], *[source[0]] * len(new))
            ends += (*self.ends[done:begin], *[source[1]] * len(new))
            done = end
        if not done and not text:
            return self
        text.append(self.text[done:])
        starts += self.starts[done:]
        ends += self.ends[done:]
        return type(self)("".join(text), tuple(starts), tuple(ends))

    def rewritten(self, rules: Iterable[Rule]) -> Self:
        """Return a copy after every rule, in order."""
        text = self
        for pattern, replacement in rules:
            text = text.sub(pattern, replacement)
        return text

    def translated(self, table: dict[int, str]) -> Self:
        """Return a copy with characters mapped by `table`, as `str.translate` does."""
        if not any(ord(char) in table for char in self.text):
            return self
        out = [table.get(ord(char), char) for char in self.text]
        return type(self)(
            "".join(out),
            tuple(s for new, s in zip(out, self.starts, strict=True) for _ in new),
            tuple(e for new, e in zip(out, self.ends, strict=True) for _ in new),
        )

    def stripped(self) -> Self:
        """Return a copy without white space at both ends."""
        begin = len(self.text) - len(self.text.lstrip())
        return self[begin : begin + len(self.text.strip())]

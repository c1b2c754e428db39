"""Clean a context's text as it arrives, one character in, one character out.

Offsets into the context's text are reported to the client, so nothing is removed: a control
character becomes a space, a lone surrogate the replacement character. A surrogate pair may be cut
between two messages (JavaScript strings are UTF-16): its first half waits for the second.
"""

from __future__ import annotations

import re

_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # tab, \n and \r stay
_PAIR = re.compile(r"[\ud800-\udbff][\udc00-\udfff]")
_LONE = re.compile(r"[\ud800-\udfff]")


def _joined(match: re.Match[str]) -> str:
    high, low = map(ord, match.group())
    return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00))


class TextIntake:
    """The text of one context."""

    def __init__(self) -> None:
        self._held = ""  # the first half of a surrogate pair

    def feed(self, text: str) -> str:
        """Return the clean text that is complete with this delta."""
        text, self._held = self._held + text, ""
        if text and "\ud800" <= text[-1] <= "\udbff":
            text, self._held = text[:-1], text[-1]
        return _clean(text)

    def finish(self) -> str:
        """Return what was held back."""
        rest, self._held = self._held, ""
        return _clean(rest)


def _clean(text: str) -> str:
    return _CONTROL.sub(" ", _LONE.sub("\ufffd", _PAIR.sub(_joined, text)))

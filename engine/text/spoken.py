"""What a language frontend returns, and how digits may be read."""

from __future__ import annotations

from enum import StrEnum
from typing import NamedTuple, Self

from engine.errors import InvalidParameter


class DigitStyle(StrEnum):
    """How runs of digits are read."""

    AUTO = "auto"  # by form and context: amounts as numbers, phones and codes digit by digit
    READ = "read"  # always digit by digit
    CARDINAL = "cardinal"  # always as a number

    @classmethod
    def parse(cls, value: str) -> Self:
        """Return the style named `value`.

        Raises:
            InvalidParameter: There is none.
        """
        try:
            return cls(value)
        except ValueError:
            raise InvalidParameter("digits", value, ", ".join(cls)) from None


class Spoken(NamedTuple):
    """One word, Chinese character or mark with its phones.

    Attributes:
        text: The normalised form.
        phones: Symbol names of the pack's inventory.
        start: Where its source begins, in characters of the text given to the frontend.
        end: Just after it.
    """

    text: str
    phones: tuple[str, ...]
    start: int
    end: int

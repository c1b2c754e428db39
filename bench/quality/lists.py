"""The sentences quality is judged on: written for this project, never trained on.

`en` and `zh` have 60 sentences each, `mixed` switches language inside a sentence, `digits` needs
numbers to be read. A line may give other forms that are just as right: `text | form | form`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from engine.errors import InvalidParameter
from engine.text.han import COMMON
from engine.types import Language

LISTS = ("en", "zh", "mixed", "digits")
_FOLDER = Path(__file__).parent / "texts"
_HAN = re.compile(f"[{COMMON}]")


@dataclass(frozen=True, slots=True)
class Line:
    """A sentence to speak.

    Attributes:
        id: `list-number`, the same for ever.
        language: What the recogniser is told; the language most of it is in.
        forms: What counts as right, the text itself first.
    """

    id: str
    list: str
    language: Language
    text: str
    forms: tuple[str, ...]


def read_lines(name: str) -> list[Line]:
    """Return the sentences of a list.

    Raises:
        InvalidParameter: There is no such list.
    """
    if name not in LISTS:
        raise InvalidParameter("list", name, ", ".join(LISTS))
    text = (_FOLDER / f"{name}.txt").read_text(encoding="utf-8")
    kept = [line for line in text.splitlines() if line.strip() and not line.startswith("#")]
    lines = []
    for number, line in enumerate(kept, 1):
        forms = tuple(form.strip() for form in line.split(" | "))
        lines.append(Line(f"{name}-{number:02}", name, main_language(forms[0]), forms[0], forms))
    return lines


def main_language(text: str) -> Language:
    """Return Chinese if at least as many of its words are Chinese characters."""
    words = re.findall(r"[A-Za-z]+", text)
    return Language.ZH if len(_HAN.findall(text)) >= max(1, len(words)) else Language.EN

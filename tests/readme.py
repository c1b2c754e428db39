"""Reads the READMEs: headings, fenced blocks, links, tables."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
READMES = ("README.md", "README.zh-CN.md")

_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@dataclass(frozen=True, slots=True)
class Block:
    """A fenced block.

    Attributes:
        language: What stands behind the fence; "" for none.
        code: Its lines.
    """

    language: str
    code: str

    @property
    def bare(self) -> str:
        """The code without its comments, which are in the page's own language."""
        return "\n".join(re.sub(r"\s+# .*$", "", line) for line in self.code.splitlines())

    @property
    def commands(self) -> list[str]:
        """The commands of a bash block, continued lines joined."""
        joined = self.bare.replace("\\\n", " ")
        return [line.strip() for line in joined.splitlines() if line.strip()]


def text_of(name: str) -> str:
    """Return a page's text."""
    return (ROOT / name).read_text(encoding="utf-8")


def blocks_of(name: str) -> list[Block]:
    """Return a page's fenced blocks, in order."""
    return [Block(language, code) for language, code in _FENCE.findall(text_of(name))]


def prose_of(name: str) -> str:
    """Return a page's text without its fenced blocks."""
    return _FENCE.sub("", text_of(name))


def links_of(name: str) -> list[str]:
    """Return the targets of links and images."""
    return re.findall(r"\]\(([^)]+)\)", prose_of(name))


def block_with(name: str, words: str) -> Block:
    """Return the one block that has these words."""
    (found,) = [block for block in blocks_of(name) if words in block.code]
    return found

"""Draws the modules a request passes through: their order by hand, who imports whom from the code.

    python .ci/architecture.py            write architecture.svg beside this file
    python .ci/architecture.py --check    exit 1 if the picture there is not today's

A box whose module is gone, or that nothing joins to the others, is an error.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path

ROOT = Path(__file__).parents[1]
PICTURE = Path(__file__).with_name("architecture.svg")

_BOX_W, _BOX_H, _GAP_X, _GAP_Y = 196, 52, 36, 34
_MARGIN, _HEAD = 18, 26
_COLUMNS = 4
_SHARED = "engine.types"  # nearly all import it: said in words, not drawn
_WIDTH = 2 * _MARGIN + _COLUMNS * _BOX_W + (_COLUMNS + 1) * _GAP_X


@dataclass(frozen=True, slots=True)
class Box:
    """A module, and what it does for a request."""

    module: str
    caption: str


@dataclass(frozen=True, slots=True)
class Lane:
    """What runs together, in rows of boxes; None leaves a place empty."""

    title: str
    colour: str
    rows: tuple[tuple[Box | None, ...], ...]


LANES = (
    Lane(
        "any client, any language (these are ours)",
        "#8a6d3b",
        (
            (
                Box("clients.say", "text from a terminal or a pipe"),
                Box("clients.stream_client", "one socket, many contexts"),
                Box("clients.events", "messages and packets, typed"),
            ),
        ),
    ),
    Lane(
        "server: one event loop, nothing heavy on it",
        "#0b7a67",
        (
            (
                Box("server.app", "1  routes, keys, limits"),
                Box("server.session", "2  one socket"),
                Box("server.protocol", "3  sans-IO: messages to actions"),
                Box("server.messages", "the wire as dataclasses"),
            ),
            (
                Box("server.runtime", "what starts, drains and stops"),
                Box("server.utterance", "4  the life of one context"),
                Box("engine.text.splitter", "5  text to sentences as it comes"),
                Box("server.outbox", "13  what waits for the socket"),
            ),
            (
                Box("server.speech", "6, 8  a sentence to both pools"),
                Box("server.delivery", "10  chunks in order"),
                Box("server.encoder", "11  resample, Opus"),
                Box("server.pacing", "12  lead over the listener"),
            ),
        ),
    ),
    Lane(
        "frontend pool: processes of their own",
        "#7a4fa3",
        (
            (
                Box("engine.text.pool", "7  a sentence to a worker"),
                Box("engine.text.frontend", "normalise, phonemes, ids"),
                Box("engine.text.detect", "zh and en in one sentence"),
            ),
        ),
    ),
    Lane(
        "engine: a process per device",
        "#2b5fb0",
        (
            (
                Box("engine.client", "the engine as the server sees it"),
                Box("engine.process_engine", "8  jobs out, chunks back"),
                Box("engine.worker", "9  two lanes: tokens and sound"),
                Box("engine.scheduler", "whose first sound is due"),
            ),
            (
                Box("engine.job", "one sentence being spoken"),
                Box("engine.sampling", "the next token"),
                Box("engine.vocoding", "tokens to samples, overlap-save"),
                Box("engine.backends.base", "ONNX Runtime, torch, TensorRT"),
            ),
        ),
    ),
    Lane(
        "what crosses every border: numpy and dataclasses",
        "#666666",
        ((None, Box("engine.types", "Phonemes, AudioChunk, ..."), None, None),),
    ),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a box is drawn."""

    box: Box
    colour: str
    x: int
    y: int


def boxes(lanes: Sequence[Lane]) -> list[Box]:
    """Return all boxes."""
    return [box for lane in lanes for row in lane.rows for box in row if box is not None]


def imports_of(module: str) -> set[str]:
    """Return the modules a module of ours imports, also inside functions.

    Raises:
        FileNotFoundError: There is no such module.
    """
    path = ROOT.joinpath(*module.split(".")).with_suffix(".py")
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {node.module, *(f"{node.module}.{alias.name}" for alias in node.names)}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return found


def edges(lanes: Sequence[Lane]) -> list[tuple[str, str]]:
    """Return (importer, imported) between boxes.

    Raises:
        ValueError: A box stands alone: it is not on the path any more.
    """
    modules = [box.module for box in boxes(lanes)]
    imports = {module: imports_of(module) for module in modules}
    found = [
        (a, b) for a in modules for b in modules if a != b and b != _SHARED and b in imports[a]
    ]
    alone = set(modules) - {_SHARED} - {module for edge in found for module in edge}
    if alone:
        raise ValueError(f"nothing joins {', '.join(sorted(alone))} to the other boxes")
    return found


def draw(lanes: Sequence[Lane]) -> str:
    """Return the picture as SVG."""
    parts: list[str] = []
    places: dict[str, Place] = {}
    y = _MARGIN
    for lane in lanes:
        height = _HEAD + len(lane.rows) * (_BOX_H + _GAP_Y)
        parts.append(_lane(lane, y, height))
        for number, row in enumerate(lane.rows):
            row_y = y + _HEAD + 12 + number * (_BOX_H + _GAP_Y)
            for column, box in enumerate(row):
                if box is not None:
                    x = _MARGIN + _GAP_X + column * (_BOX_W + _GAP_X)
                    places[box.module] = Place(box, lane.colour, x, row_y)
        y += height + 12
    arrows = [_arrow(places[a], places[b]) for a, b in edges(lanes)]
    parts += [*arrows, *(_box(place) for place in places.values())]
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {y + 20}" '
        'font-family="system-ui, sans-serif" font-size="12">'
        f'<rect width="{_WIDTH}" height="{y + 20}" fill="#ffffff"/>'
        '<defs><marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" '
        'markerHeight="7" orient="auto"><path d="M0 0L8 4L0 8z" fill="#888"/></marker></defs>'
    )
    note = (
        "Numbers: the way of one sentence. Arrows: imports; all boxes but the clients' may import "
        "engine.types."
    )
    foot = f'<text x="{_MARGIN}" y="{y + 8}" fill="#555">{escape(note)}</text></svg>\n'
    return head + "\n" + "\n".join(parts) + "\n" + foot


def _lane(lane: Lane, y: int, height: int) -> str:
    return (
        f'<rect x="{_MARGIN}" y="{y}" width="{_WIDTH - 2 * _MARGIN}" height="{height}" rx="10" '
        f'fill="{lane.colour}" fill-opacity="0.07"/>'
        f'<text x="{_MARGIN + 12}" y="{y + 19}" fill="{lane.colour}" font-weight="600">'
        f"{escape(lane.title)}</text>"
    )


def _box(place: Place) -> str:
    return (
        f'<g><rect x="{place.x}" y="{place.y}" width="{_BOX_W}" height="{_BOX_H}" rx="6" '
        f'fill="#ffffff" stroke="{place.colour}" stroke-width="1.3"/>'
        f'<text x="{place.x + 10}" y="{place.y + 21}" font-weight="600">'
        f"{escape(place.box.module)}</text>"
        f'<text x="{place.x + 10}" y="{place.y + 39}" fill="#444" font-size="11">'
        f"{escape(place.box.caption)}</text></g>"
    )


def _arrow(a: Place, b: Place) -> str:
    """Return a line from the edge of one box to the edge of the other."""
    if a.y == b.y:
        forward = b.x > a.x
        x1, x2 = (a.x + _BOX_W, b.x) if forward else (a.x, b.x + _BOX_W)
        y1 = y2 = a.y + _BOX_H // 2
        if abs(b.x - a.x) > _BOX_W + _GAP_X:
            # Over the boxes between.
            x1, x2, top = a.x + _BOX_W // 2, b.x + _BOX_W // 2, a.y - 14
            return _path(f"M{x1} {a.y}C{x1} {top} {x2} {top} {x2} {b.y - 2}")
        return _path(f"M{x1} {y1}L{x2} {y2}")
    down = b.y > a.y
    x1, x2 = a.x + _BOX_W // 2, b.x + _BOX_W // 2 + (14 if a.x != b.x else 0)
    y1, y2 = (a.y + _BOX_H, b.y) if down else (a.y, b.y + _BOX_H)
    if a.x == b.x and abs(b.y - a.y) > 2 * (_BOX_H + _GAP_Y):
        # Past the boxes between, in the gap beside them.
        side, y1, y2 = a.x - _GAP_X // 2, a.y + _BOX_H // 2, b.y + _BOX_H // 2
        return _path(f"M{a.x} {y1}L{side} {y1}L{side} {y2}L{b.x} {y2}")
    middle = (y1 + y2) // 2
    return _path(f"M{x1} {y1}C{x1} {middle} {x2} {middle} {x2} {y2}")


def _path(data: str) -> str:
    return f'<path d="{data}" fill="none" stroke="#888" stroke-width="1.1" marker-end="url(#tip)"/>'


def main(arguments: Sequence[str]) -> Iterator[str]:
    """Do what the command line says; yield what went wrong."""
    picture = draw(LANES)
    if "--check" not in arguments:
        PICTURE.write_text(picture, encoding="utf-8")
    elif not PICTURE.is_file() or PICTURE.read_text(encoding="utf-8") != picture:
        yield f"{PICTURE.name} is not what the imports say; run: python .ci/architecture.py"


if __name__ == "__main__":
    sys.exit("\n".join(main(sys.argv[1:])) or None)

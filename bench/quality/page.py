"""The result as one HTML file with players and plots; it needs nothing but itself."""

from __future__ import annotations

import base64
import io
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import soundfile

from bench import plots
from bench.quality.items import Folder, Item, Kind
from engine.audio.io import read_audio

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:70rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto}
td,th{border:1px solid #ccc;padding:.2rem .5rem;text-align:left}th{background:#f4f4f4}
svg{max-width:44rem;width:100%;font:12px sans-serif}audio{height:2rem;width:15rem}
.bad{color:#b00020}code{background:#f4f4f4}
"""
_PLAYERS = 8  # of each group; a page of hundreds of recordings would be opened by nobody
_SECTIONS = (
    ("readings", "Sentences"),
    ("voices", "Voices"),
    ("length", "Length and collapse"),
    ("streaming", "Streamed against whole"),
    ("resynthesis", "Resynthesis of recordings"),
    ("speakers", "Cloned speakers"),
)


def page(folder: Folder, result: Mapping[str, Any]) -> str:
    """Return the HTML."""
    setup = ", ".join(f"{k}: {v}" for k, v in result["setup"].items())
    parts = [
        '<!doctype html><html lang="en"><meta charset="utf-8"><title>Quality</title>',
        f"<style>{_STYLE}</style><h1>How {escape(str(result['setup'].get('pack')))} speaks</h1>",
        f"<p><code>{escape(setup)}</code></p>",
        "".join(f"<p>{escape(note)}</p>" for note in result.get("notes", ())),
    ]
    for name, title in _SECTIONS:
        found = result.get(name)
        if found:
            parts.append(f"<h2>{title}</h2>" + table(found if isinstance(found, list) else [found]))
    judged = folder.judgements()
    items = [item for item in folder.items.values() if item.id in judged]
    parts += [_plots(items, judged), _players(folder, items, judged), "</html>\n"]
    return "".join(parts)


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return rows of equal or different fields as one table."""
    names = list(dict.fromkeys(name for row in rows for name in row))
    head = "".join(f"<th>{escape(name.replace('_', ' '))}</th>" for name in names)
    body = "".join(
        "<tr>" + "".join(f"<td>{_cell(row.get(name))}</td>" for name in names) + "</tr>"
        for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return escape(", ".join(f"{k} {v:.4g}" for k, v in value.items()))
    if isinstance(value, list):
        return escape(", ".join(map(str, value)))
    return escape(f"{value:.4g}" if isinstance(value, float) else str(value))


def _plots(items: Sequence[Item], judged: Mapping[str, Mapping[str, Any]]) -> str:
    rates: dict[str, list[float]] = {}
    scores: dict[str, list[float]] = {}
    for item in items:
        if item.kind in (Kind.SENTENCE, Kind.TEACHER):
            name = f"{item.kind} {item.list}"
            figures = judged[item.id]
            rates.setdefault(name, []).append(figures["edits"] / max(1, figures["units"]))
            scores.setdefault(name, []).append(figures["mos"])
    if not rates:
        return ""
    return (
        "<h2>Distributions</h2>"
        + plots.shares(rates, "error rate of an utterance")
        + plots.shares(scores, "predicted opinion score")
    )


def _players(folder: Folder, items: Sequence[Item], judged: Mapping[str, Mapping[str, Any]]) -> str:
    groups: dict[str, list[Item]] = {}
    for item in items:
        groups.setdefault(f"{item.kind}, {item.list}", []).append(item)
    parts = ["<h2>Listen</h2>"]
    for name, group in groups.items():
        rows = "".join(_player(folder, item, judged[item.id]) for item in _spread(group))
        parts.append(f"<h3>{escape(name)}</h3><table>{rows}</table>")
    return "".join(parts)


def _spread(items: Sequence[Item]) -> list[Item]:
    """Return a few items from all over the group."""
    count = min(_PLAYERS, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def _player(folder: Folder, item: Item, figures: Mapping[str, Any]) -> str:
    audio = read_audio(folder.path / item.file)
    packed = io.BytesIO()
    # Opus knows 24 and 48 kHz, of the rates packs have; the rest go in as 16-bit FLAC.
    if audio.sample_rate_hz in (24000, 48000):
        kind = "audio/ogg"
        soundfile.write(packed, audio.samples, audio.sample_rate_hz, format="OGG", subtype="OPUS")
    else:
        kind = "audio/flac"
        soundfile.write(packed, audio.samples, audio.sample_rate_hz, format="FLAC")
    data = base64.b64encode(packed.getvalue()).decode()
    wrong = "" if figures["edits"] == 0 else ' class="bad"'
    return (
        f'<tr><td><audio controls preload="none" src="data:{kind};base64,{data}"></audio></td>'
        f"<td>{escape(item.voice)}</td><td>{escape(item.forms[0])}</td>"
        f"<td{wrong}>{escape(figures['heard'])}</td><td>{figures['mos']:.2f}</td></tr>"
    )

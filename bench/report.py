"""One page of tables and plots out of any results; it needs nothing but itself."""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from bench import plots
from bench.results import name_of, read_result
from engine.errors import InvalidParameter

_STYLE = """
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#222}
table{border-collapse:collapse;margin:1rem 0;display:block;overflow-x:auto}
td,th{border:1px solid #ccc;padding:.2rem .6rem;text-align:right}th{background:#f4f4f4}
td:first-child,th:first-child{text-align:left}svg{max-width:44rem;width:100%;font:12px sans-serif}
.bad{color:#b00020}code{background:#f4f4f4}
"""
_CLOCKS = (
    "first_byte_s",
    "first_frame_s",
    "first_audible_s",
    "clause_byte_s",
    "clause_frame_s",
    "clause_audible_s",
    "gap_s",
    "cancel_last_byte_s",
    "cancel_confirmed_s",
)


def page(results: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the HTML of results by name."""
    parts = [section(name, result) for name, result in results.items()]
    head = '<!doctype html><html lang="en"><meta charset="utf-8"><title>sovits-live bench</title>'
    return f"{head}<style>{_STYLE}</style><h1>Measurements</h1>{''.join(parts)}</html>\n"


def write_page(path: Path, results: Mapping[str, Mapping[str, Any]]) -> None:
    """Write the page of results by name."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page(results), encoding="utf-8")


def section(name: str, result: Mapping[str, Any]) -> str:
    """Return one result."""
    parts = [f"<h2>{escape(name)}</h2>", _environment(result["environment"])]
    rest = {key: value for key, value in result.items() if key not in ("environment", "levels")}
    if "levels" in result:
        parts += [_facts(rest), _latency(result["levels"])]
    elif result.get("bench") == "rivals":
        parts.append(_rivals(result))
    else:
        parts.append(_facts(rest))
    return "".join(parts)


def _environment(environment: Mapping[str, Any]) -> str:
    packages = " ".join(f"{k} {v}" for k, v in environment.get("packages", {}).items())
    line = ", ".join(
        str(environment.get(key, "unknown")) for key in ("date", "git", "cpu", "platform")
    )
    memory = environment.get("memory_gb")
    cores = f"{environment.get('cores')} cores" + (f", {memory} GB" if memory else "")
    text = f"{line}, {cores}; {packages}"
    return f"<p>{escape(text)}<br><code>{escape(str(environment.get('command', '')))}</code></p>"


def _latency(levels: Sequence[Mapping[str, Any]]) -> str:
    names = [name_of(level["load"]) for level in levels]
    audible = {
        name: [1000 * v for run in level["runs"] if (v := run["clocks"]["first_audible_s"])]
        for name, level in zip(names, levels, strict=True)
    }
    parts = [
        "<h3>First audible sample, ms since the first text</h3>",
        plots.shares({name: values for name, values in audible.items() if values}, "ms"),
    ]
    by_load = _by_load(levels)
    if len(levels) > 1 and by_load:
        load = next(iter(levels[0]["load"])).replace("_", " ")
        parts += [f"<h3>By {escape(load)}</h3>", plots.lines(by_load, load, "ms")]
    parts += [_level_table(names, levels), _fault_table(names, levels)]
    parts.append(_failure_table(names, levels))
    return "".join(parts)


def _by_load(levels: Sequence[Mapping[str, Any]]) -> dict[str, list[tuple[float, float]]]:
    found: dict[str, list[tuple[float, float]]] = {"p50": [], "p95": [], "p99": []}
    for level in levels:
        audible, load = level["summary"]["first_audible_s"], next(iter(level["load"].values()))
        for name, points in found.items():
            if audible is not None and not isinstance(load, str):
                points.append((load, 1000 * audible[name]))
    return {name: sorted(points) for name, points in found.items() if points}


def _level_table(names: Sequence[str], levels: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for name, level in zip(names, levels, strict=True):
        for clock in _CLOCKS:
            found = level["summary"].get(clock)
            if found is not None:
                figures = [f"{1000 * found[p]:.1f}" for p in ("min", "p50", "p95", "p99", "max")]
                rows.append([f"{name} {clock[:-2]}", *figures, str(found["n"])])
    return table(("ms", "min", "p50", "p95", "p99", "max", "n"), rows)


def _fault_table(names: Sequence[str], levels: Sequence[Mapping[str, Any]]) -> str:
    rows = []
    for name, level in zip(names, levels, strict=True):
        summary = level["summary"]
        gaps = " / ".join(
            f"{u['gaps']} ({1000 * u['stalled_s']:.0f} ms)" for u in summary["underruns"].values()
        )
        rtf = "" if summary["rtf"] is None else f"{summary['rtf']['p50']:.3f}"
        problems = ", ".join(f"{k} {v}" for k, v in summary["problems"].items()) or "none"
        lag = f"{1000 * summary['client_lag_p99_s']:.1f}"
        others = f"{100 * level['others_share']:.0f} %"
        rows.append([name, gaps, rtf, problems, lag, others])
    head = ("", "underruns at 60 / 100 / 200 ms", "RTF p50", "problems", "client late p99 ms",
            "others' CPU")  # fmt: skip
    return table(head, rows)


def _failure_table(names: Sequence[str], levels: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        [name, str(count), reason]
        for name, level in zip(names, levels, strict=True)
        for reason, count in Counter(level["summary"]["errors"]).most_common()
    ]
    return table(("failed", "utterances", "reason"), rows)


def _rivals(result: Mapping[str, Any]) -> str:
    engines = result["engines"]
    parts = []
    for key, label in (
        ("first_audio_s", "first audio, s"),
        ("rtf", "RTF"),
        ("rss_mb", "peak RSS, MB"),
    ):
        found = {name: figures[key] for name, figures in engines.items() if figures.get(key)}
        if found:
            parts.append(f"<h3>{label}</h3>" + plots.bars(found, label))
    heads = list(dict.fromkeys(key for figures in engines.values() for key in figures))
    rows = [[name, *(_cell(f.get(head)) for head in heads)] for name, f in engines.items()]
    parts.append(table(("", *heads), rows))
    for key, label in (("ratios", "ours over"), ("ratios_auto", "ours at its fastest over")):
        ratios = result.get(key, {})
        rows = [[name, *(_cell(v) for v in row.values())] for name, row in ratios.items()]
        parts.append(table((label, *next(iter(ratios.values()), {})), rows))
    missing = result.get("not_run", {})
    parts.append(table(("not run", "why"), [[name, why] for name, why in missing.items()]))
    return "".join(parts)


def _cell(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else f"{value:.3f}" if isinstance(value, float) else str(value)


def _facts(value: Any) -> str:
    """Return any JSON: mappings as tables, lists of like mappings with a row for each."""
    if value is None or value == {}:
        return ""
    if isinstance(value, Mapping):
        rows = "".join(
            f"<tr><td>{escape(str(key))}</td><td>{_facts(found)}</td></tr>"
            for key, found in value.items()
        )
        return f"<table>{rows}</table>"
    if isinstance(value, list) and value and all(isinstance(row, Mapping) for row in value):
        heads = list(dict.fromkeys(key for row in value for key in row))
        cells = [[_facts(row.get(head, "")) for head in heads] for row in value[:200]]
        body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in cells)
        return f"<table><tr>{''.join(f'<th>{escape(h)}</th>' for h in heads)}</tr>{body}</table>"
    if isinstance(value, float):
        return f"{value:.4g}"
    return escape(str(value))


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table; nothing without rows."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape(cell)}</th>" for cell in heads)
    body = "".join(
        "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows
    )
    return f"<table><tr>{head}</tr>{body}</table>"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("results", nargs="+", type=Path, help="JSON of any bench")
    parser.add_argument("--out", type=Path, default=Path("bench-report.html"))


def run(args: argparse.Namespace) -> int:
    """Write the page."""
    try:
        results = {path.stem: read_result(path) for path in args.results}
    except InvalidParameter as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    write_page(args.out, results)
    print(f"written to {args.out}")
    return 0

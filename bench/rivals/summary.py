"""From the rounds' raw figures to medians and ratios."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from bench.rivals.engines import ENGINES
from bench.rivals.measure import TOGETHER
from engine.types import TOKEN_HZ

_HARMLESS = frozenset({"header_only_first_byte", "leading_silence", "silent"})
_LENGTH_TOLERANCE = 0.1
# What a ratio is of, by its name in `ratios`.
RATIOS: Mapping[str, str] = {
    "first_audio": "first_audio_s",
    "first_audio_x4_p95": "first_audio_x4_p95_s",
    "total": "total_s",
    "rtf": "rtf",
    "rss": "rss_mb",
    "decoder_rtf": "decoder_rtf",
}

Round = Mapping[str, Any]


def engine_figures(rounds: Sequence[Round]) -> dict[str, Any]:
    """Return the figures of an engine over its rounds; None for what it cannot tell."""
    alone = [level for entry in rounds for level in entry["levels"] if level["clients"] == 1]
    together = [level for entry in rounds for level in entry["levels"] if level["clients"] > 1]
    runs = [run["clocks"] for level in alone for run in level["runs"] if is_whole(run["clocks"])]
    lengths = [clocks["audio_s"] for clocks in runs]
    usual_s = _median(lengths)
    return {
        "first_audio_s": _median([clocks["first_frame_s"] for clocks in runs]),
        "total_s": _median([clocks["wall_s"] for clocks in runs]),
        "audio_s": usual_s,
        "rtf": _median([c["wall_s"] / s for c, s in zip(runs, lengths, strict=True)]),
        **_part_figures(alone),
        "rss_mb": _median([entry["rss_mb"] for entry in rounds]),
        "rss_x4_mb": _median([entry["rss_together_mb"] for entry in rounds]),
        "ready_s": _median([entry["ready_s"] for entry in rounds]),
        **_together(together, usual_s),
        "n": len(runs),
        "rounds": len(rounds),
        "others_share_max": max((level["others_share"] for level in alone + together), default=0),
    }


def is_whole(clocks: Mapping[str, Any]) -> bool:
    """True for an utterance that came to its end with nothing wrong in it."""
    wrong = set(clocks["problems"]) - _HARMLESS
    return not wrong and not clocks["error"] and bool(clocks["audio_s"])


def _part_figures(levels: Sequence[Mapping[str, Any]]) -> dict[str, float | None]:
    speeds, factors = [], []
    for level in levels:
        parts = level["parts"]
        audio_s = sum(run["clocks"]["audio_s"] for run in level["runs"])
        t2s_s = parts.get("t2s", {}).get("s", 0.0)
        whole_s = parts.get("whole", {}).get("s", 0.0)
        decoder_s = parts.get("decoder", {}).get("s", 0.0) or max(0.0, whole_s - t2s_s)
        if t2s_s > 0 and audio_s > 0:
            speeds.append(TOKEN_HZ * audio_s / t2s_s)
        if decoder_s > 0 and audio_s > 0:
            factors.append(decoder_s / audio_s)
    return {"t2s_tokens_per_s": _median(speeds), "decoder_rtf": _median(factors)}


def _together(levels: Sequence[Mapping[str, Any]], usual_s: float | None) -> dict[str, Any]:
    runs = [run["clocks"] for level in levels for run in level["runs"]]
    right = [
        clocks
        for clocks in runs
        if is_whole(clocks)
        and usual_s is not None
        and abs(clocks["audio_s"] - usual_s) <= _LENGTH_TOLERANCE * usual_s
    ]
    firsts = [clocks["first_frame_s"] for clocks in right]
    audio_s = sum(clocks["audio_s"] for clocks in right)
    wall_s = sum(
        max(c["wall_s"] or 0.0 for c in _clocks(level)) for level in levels if _clocks(level)
    )
    problems = sorted({p for clocks in runs for p in clocks["problems"]} - _HARMLESS)
    return {
        "first_audio_x4_s": _median(firsts),
        "first_audio_x4_p95_s": float(np.percentile(firsts, 95)) if firsts else None,
        "audio_per_s_x4": audio_s / wall_s if wall_s else None,
        "right_x4": f"{len(right)} of {TOGETHER * len(levels)}",
        "problems_x4": problems,
    }


def _clocks(level: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    return [run["clocks"] for run in level["runs"]]


def ratios_of(ours: Mapping[str, Any], others: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Return ours over theirs, below 1 is better, by what and by whom."""
    table: dict[str, dict[str, float | None]] = {}
    for name, figure in RATIOS.items():
        table[name] = {
            other: _over(ours.get(figure), figures.get(figure)) for other, figures in others.items()
        }
    speed = "t2s_tokens_per_s"
    table["t2s_seconds_per_token"] = {
        other: _over(figures.get(speed), ours.get(speed)) for other, figures in others.items()
    }
    return table


def summarise(rounds: Mapping[str, Sequence[Round]]) -> dict[str, Any]:
    """Return `engines`, `ratios` (ours as it is) and `ratios_auto`."""
    figures = {name: engine_figures(entries) for name, entries in rounds.items() if entries}
    rivals = {name: found for name, found in figures.items() if not ENGINES[name].is_ours}
    result: dict[str, Any] = {"engines": figures}
    for name, key in (("ours", "ratios"), ("ours-auto", "ratios_auto")):
        if name in figures:
            result[key] = ratios_of(figures[name], rivals)
    return result


def _over(first: float | None, second: float | None) -> float | None:
    return first / second if first and second else None


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.median(known)) if known else None

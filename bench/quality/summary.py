"""What the figures of all utterances come to, by kind, list, language and voice."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np

from bench.environment import write_json
from bench.quality import judges
from bench.quality.items import SPEAKER, Folder, Item, Kind
from bench.quality.page import page
from bench.quality.voice_scores import VoicePrint, distance, mean_print
from engine.types import Language

TOO_LONG, TOO_SHORT = 2.0, 0.5  # of the usual length
Row = dict[str, Any]


def summary(folder: Folder) -> dict[str, Any]:
    """Return the result of `bench quality`."""
    judged = folder.judgements()
    items = list(folder.items.values())
    settings = folder.settings()
    result = {
        "bench": "quality",
        "setup": settings,
        "judges": judges.versions(),
        "readings": _readings(items, judged),
        "voices": _voices(items, judged),
        "length": _length(items),
        "streaming": _streaming(items),
        "resynthesis": _resynthesis(items, judged),
        "speakers": _speakers(items, judged),
        "notes": _notes(settings),
    }
    return {name: value for name, value in result.items() if value not in ([], {})}


def write_result(folder: Folder, result: Mapping[str, Any], copy: Path | None) -> list[Path]:
    """Write JSON and page; returns where."""
    paths = [folder.path / "quality.json", *([copy] if copy else [])]
    for path in paths:
        write_json(path, result)
    html = folder.path / "quality.html"
    html.write_text(page(folder, result), encoding="utf-8")
    return [*paths, html]


def error_rate(figures: Iterable[Mapping[str, Any]], kind: str = "") -> float | None:
    """Return all edits over all units: long sentences count for more than short ones."""
    found = [f for f in figures if f"{kind}units" in f]
    units = sum(f[f"{kind}units"] for f in found)
    return round(sum(f[f"{kind}edits"] for f in found) / units, 4) if units else None


def _figures(items: Sequence[Item], judged: Mapping[str, Mapping[str, Any]]) -> Row:
    found = [judged[item.id] for item in items if item.id in judged]
    row: Row = {
        "n": len(found),
        "error_rate": error_rate(found),
        "perfect": round(fmean(f["edits"] == 0 for f in found), 3) if found else None,
        "mos": round(fmean(f["mos"] for f in found), 3) if found else None,
    }
    if (by_sound := error_rate(found, "pinyin_")) is not None:
        row["pinyin_error_rate"] = by_sound
    return row


def _readings(items: Sequence[Item], judged: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Return a row for each list and language, the teacher's beside it."""
    rows = []
    groups: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in items:
        if item.kind is Kind.SENTENCE:
            groups[item.list, str(item.language)].append(item)
    for (name, language), group in groups.items():
        row: Row = {"list": name, "language": language, **_figures(group, judged)}
        lines = {item.line for item in group}
        teacher = [i for i in items if i.kind is Kind.TEACHER and i.line in lines]
        if teacher:
            row |= {f"teacher_{k}": v for k, v in _figures(teacher, judged).items() if k != "n"}
        rows.append(row)
    return rows


def _voices(items: Sequence[Item], judged: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    groups: dict[tuple[str, str], list[Item]] = defaultdict(list)
    for item in items:
        if item.kind is Kind.SENTENCE and item.list in ("en", "zh"):
            groups[item.voice, str(item.language)].append(item)
    return [
        {"voice": voice, "language": language, **_figures(group, judged)}
        for (voice, language), group in sorted(groups.items())
    ]


def _length(items: Sequence[Item]) -> Row:
    """Return how many utterances were cut short, ran on or collapsed, and which."""
    kinds = (Kind.SENTENCE, Kind.RUN, Kind.CLONE, Kind.CROSS)
    kept = [item for item in items if item.kind in kinds and item.expected_s > 0]
    if not kept:
        return {}
    short = [i.id for i in kept if i.seconds < TOO_SHORT * i.expected_s]
    long = [i.id for i in kept if i.seconds > TOO_LONG * i.expected_s]
    collapsed = [i.id for i in kept if i.figures.get("collapses")]
    bad = {*short, *long, *collapsed}
    ratios = [item.seconds / item.expected_s for item in kept]
    return {
        "n": len(kept),
        "bad": len(bad),
        "bad_share": round(len(bad) / len(kept), 4),
        "early_stop": len(short),
        "too_long": len(long),
        "guard_stepped_in": len(collapsed),
        "ratio_p5_p50_p95": [round(float(v), 3) for v in np.percentile(ratios, [5, 50, 95])],
        "which": sorted(bad)[:30],
    }


def _streaming(items: Sequence[Item]) -> Row:
    found = [item.figures for item in items if item.kind is Kind.STREAM]
    if not found:
        return {}
    row: Row = {"n": len(found)}
    for name in sorted(found[0]):
        values = [f[name] for f in found]
        row[name] = {"min": min(values), "median": float(np.median(values)), "max": max(values)}
    return row


def _resynthesis(items: Sequence[Item], judged: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Return a row for each language: what is lost between a recording and its tokens' sound."""
    rows = []
    for language in Language:
        again = [i for i in items if i.kind is Kind.RESYNTHESIS and i.language is language]
        if not again:
            continue
        sources = {i.id.replace(Kind.RESYNTHESIS, Kind.ORIGINAL, 1) for i in again}
        originals = [i for i in items if i.id in sources]
        row: Row = {"language": str(language), **_figures(again, judged)}
        row |= {f"original_{k}": v for k, v in _figures(originals, judged).items() if k != "n"}
        for name in ("pesq", "stoi"):
            values = [v for i in again if (v := judged.get(i.id, {}).get(name)) is not None]
            row[name] = round(fmean(values), 3) if values else None
        rows.append(row)
    return rows


def _speakers(items: Sequence[Item], judged: Mapping[str, Mapping[str, Any]]) -> list[Row]:
    """Return a row for clones in their own language and one for the other language."""
    people = _people(items, judged)
    rows = []
    for kind in (Kind.CLONE, Kind.CROSS):
        for language in (None, Language.EN, Language.ZH):
            group = [
                item
                for item in items
                if item.kind is kind and item.id in judged and item.voice in people
                if language in (None, item.language)
            ]
            if group:
                name = str(language or "all")
                row: Row = {"kind": str(kind), "language": name, **_figures(group, judged)}
                rows.append(row | _whose(group, judged, people))
    return rows


class _Person:
    """A speaker's recordings but the enrolled one, averaged."""

    def __init__(self, figures: Sequence[Mapping[str, Any]]) -> None:
        self.embeddings = np.array([f["embedding"] for f in figures])
        mean = self.embeddings.mean(axis=0)
        self.embedding = mean / np.linalg.norm(mean)
        prints = [VoicePrint(**f["print"]) for f in figures if f["print"]]
        self.print = mean_print(prints) if prints else None


def _people(items: Sequence[Item], judged: Mapping[str, Mapping[str, Any]]) -> dict[str, _Person]:
    found: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for item in items:
        if item.kind is Kind.ORIGINAL and item.list == SPEAKER and item.id in judged:
            found[item.voice].append(judged[item.id])
    return {name: _Person(figures) for name, figures in found.items()}


def _whose(
    group: Sequence[Item], judged: Mapping[str, Mapping[str, Any]], people: Mapping[str, _Person]
) -> Row:
    names = sorted(people)
    centres = np.array([people[name].embedding for name in names])
    firsts, similar, near, away, pitch, formants = [], [], [], [], [], []
    for item in group:
        figures = judged[item.id]
        scores = centres @ np.array(figures["embedding"])
        firsts.append(names[int(scores.argmax())] == item.voice)
        similar.append(float(scores[names.index(item.voice)]))
        own = people[item.voice].print
        if figures["print"] is None or own is None:
            near.append(False)
            continue
        spoken = VoicePrint(**figures["print"])
        away.append(distance(spoken, own))
        others = {n: distance(spoken, p.print) for n in names if (p := people[n]).print}
        near.append(min(others, key=lambda n: others[n]) == item.voice)
        gap = spoken.octaves - own.octaves
        pitch.append(12 * abs(float(gap[0])))
        formants.append(100 * float(np.abs(2 ** gap[1:] - 1).mean()))
    return {
        "speakers": len(names),
        "verifier_first": round(fmean(firsts), 3),
        "verifier_similarity": round(fmean(similar), 3),
        "verifier_between_speakers": _between(centres),
        "print_first": round(fmean(near), 3),
        "print_distance": round(fmean(away), 3) if away else None,
        "pitch_semitones": round(fmean(pitch), 2) if pitch else None,
        "formants_percent": round(fmean(formants), 2) if formants else None,
    }


def _between(centres: np.ndarray) -> float | None:
    """Return the mean similarity of two different speakers' recordings."""
    count = len(centres)
    if count < 2:
        return None
    return round(float((centres @ centres.T)[~np.eye(count, dtype=bool)].mean()), 3)


def _notes(settings: Mapping[str, Any]) -> list[str]:
    notes = [
        "error_rate: edits over units, characters for zh, words for en, both for mixed text",
        "mos: predicted by DistillMOS, 1 to 5",
        "print_*: pitch and formants (see bench/quality/voice_scores.py); two speakers are about "
        "1.4 apart",
    ]
    if settings.get("speaker_kind") == "ge2e":
        notes.append(
            "verifier_*: the judge (GE2E) is also an input of this model, which may please it "
            "without sounding alike; read print_* beside it"
        )
    return notes

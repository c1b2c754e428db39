"""The watermark on a pack's speech: what it survives, what it costs, whether it is heard.

    sovits-live bench watermark --json bench/results/watermark-nano.json
    sovits-live bench watermark --judge --json ...       # needs what bench quality judge needs

Recordings are three lines of the lists of bench quality, spoken by the pack's voices in turn and
marked. Each attack is done to the whole recording, then parts are cut out of it at places of no
meaning and looked at by themselves. False alarms are counted with keys that are in none of it.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.environment import Summary, environment, write_json
from bench.quality import judges, text_scores
from bench.quality.lists import Line, read_lines
from bench.quality.speaker import Settings, Speaker, open_speaker, pack_params
from bench.recording_attacks import ATTACKS
from bench.seams import snr_db
from engine.audio.resample import resample
from engine.audio.watermark import Watermark
from engine.audio.watermark_detector import FALSE_ALARM, detect, detect_each
from engine.audio.watermark_key import WatermarkKey
from engine.errors import SovitsError
from engine.pack import load_pack
from engine.paths import BUNDLED
from engine.types import FloatArray, Language

_LANGUAGES = {"en": Language.EN, "zh": Language.ZH}
_LINES = 3  # of a recording, some 10 s
_PAUSE_S = 0.3
_PART_S = (3.0, 5.0, 10.0)
_START_S = 0.317  # of the first part: no whole number of anything
_CHUNK_S = 0.2  # as the engine's are
_LOOSE = (1e-1, 1e-2, 1e-3)  # bounds that few enough trials can tell about
KEY = WatermarkKey(bytes(range(32)))


@dataclass(frozen=True, slots=True, eq=False)
class Recording:
    """Float32 [N] without and with the mark."""

    language: Language
    lines: tuple[Line, ...]
    plain: FloatArray
    marked: FloatArray
    rate_hz: int


@dataclass(frozen=True, slots=True)
class Survival:
    """How the parts of one length fared after one attack.

    Attributes:
        found: Of `num_parts`, at the threshold; the threshold is that of one part.
        alarms: Of as many parts without the mark, after the same attack.
    """

    attack: str
    part_s: float
    num_parts: int
    found: int
    alarms: int
    score_min: float
    score_median: float
    threshold: float


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    add("--pack", type=Path, default=BUNDLED / "nano", help="what speaks")
    add("--recordings", type=int, default=8, help="of each language")
    add("--keys", type=int, default=300, help="for false alarms, on each recording")
    add("--judge", action="store_true", help="PESQ, STOI, predicted MOS and recogniser too")
    add("--json", type=Path, help="write the result here")


def record(speaker: Speaker, num_each: int) -> Iterator[Recording]:
    """Speak and mark: `num_each` recordings of each language."""
    params = pack_params(speaker.pack, seed=1)
    for name, language in _LANGUAGES.items():
        lines = read_lines(name)
        voices = [voice for voice, spoken in speaker.voices.items() if spoken is language]
        for number in range(num_each):
            chosen = tuple(lines[number * _LINES : (number + 1) * _LINES])
            voice = voices[number % len(voices)]
            spoken = [speaker.say(line.text, language, voice, params) for line in chosen]
            rate_hz = spoken[0].rate_hz
            pause = np.zeros(round(_PAUSE_S * rate_hz), np.float32)
            plain = np.concatenate([wave for s in spoken for wave in (s.samples, pause)])
            marked = Watermark(KEY, rate_hz).start().process(plain)
            yield Recording(language, chosen, plain, marked, rate_hz)


def parts(samples: FloatArray, rate_hz: int, part_s: float) -> Iterator[FloatArray]:
    """Yield the parts of one length that do not overlap."""
    size = round(part_s * rate_hz)
    for start in range(round(_START_S * rate_hz), len(samples) - size + 1, size):
        yield samples[start : start + size]


def survival(recordings: Sequence[Recording], attack: str) -> Iterator[Survival]:
    """Yield how an attack was survived, a row for each length of part."""
    done = [[ATTACKS[attack](wave, r.rate_hz) for wave in (r.marked, r.plain)] for r in recordings]
    for part_s in _PART_S:
        found, without = (
            [
                detect(part, rate_hz, KEY)
                for pair in done
                for part in parts(*pair[turn], part_s)
                for rate_hz in (pair[turn][1],)
            ]
            for turn in (0, 1)
        )
        if not found:
            continue
        scores = [each.score for each in found]
        yield Survival(
            attack,
            part_s,
            len(found),
            sum(each.is_marked for each in found),
            sum(each.is_marked for each in without),
            min(scores),
            float(np.median(scores)),
            max(each.threshold for each in found),
        )


def false_alarms(recordings: Sequence[Recording], num_keys: int) -> dict[str, Any]:
    """Count what other keys find in parts of 5 s, half of them marked, at looser bounds."""
    keys = [WatermarkKey(number.to_bytes(32)) for number in range(num_keys)]
    scores: list[float] = []
    thresholds = dict.fromkeys(_LOOSE, 0.0)
    for number, recording in enumerate(recordings):
        wave = recording.marked if number % 2 else recording.plain
        part = next(parts(wave, recording.rate_hz, 5.0))
        scores += [found.score for found in detect_each(part, recording.rate_hz, keys)]
        for bound in _LOOSE:
            loose = detect(part, recording.rate_hz, KEY, false_alarm=bound)
            thresholds[bound] = loose.threshold
    threshold = detect(part, recording.rate_hz, KEY).threshold
    seen = np.asarray(scores)
    return {
        "bound": FALSE_ALARM,
        "threshold": threshold,
        "trials": len(seen),
        "score_median": float(np.median(seen)),
        "score_max": float(seen.max()),
        "alarms": int(np.sum(seen >= threshold)),
        "looser": [
            {"bound": bound, "threshold": at, "share": float(np.mean(seen >= at))}
            for bound, at in thresholds.items()
        ],
    }


def cost(recordings: Sequence[Recording]) -> dict[str, Any]:
    """Time marking in chunks, and looking at a recording, per second of audio on one core."""
    marking, looking = [], []
    for recording in recordings:
        mark = Watermark(KEY, recording.rate_hz)
        seconds = len(recording.plain) / recording.rate_hz
        chunk = round(_CHUNK_S * recording.rate_hz)
        stream, began = mark.start(), time.process_time()
        for start in range(0, len(recording.plain), chunk):
            stream.process(recording.plain[start : start + chunk])
        marking.append((time.process_time() - began) / seconds)
        began = time.process_time()
        detect(recording.plain, recording.rate_hz, KEY)
        looking.append((time.process_time() - began) / seconds)
    return {
        "mark_per_s": asdict(Summary.of(marking)),
        "detect_per_s": asdict(Summary.of(looking)),
        "chunk_s": _CHUNK_S,
    }


def snrs(recordings: Sequence[Recording]) -> dict[str, Any]:
    """Return how far the speech is above the mark."""
    return asdict(Summary.of([snr_db(r.plain, r.marked) for r in recordings]))


def judged(recordings: Sequence[Recording]) -> dict[str, Any]:
    """Return what the judges say of each language with and without the mark.

    Raises:
        BackendUnavailable: A judge is not installed; PESQ and STOI are left out where they are not.
    """
    mos, recogniser = judges.DistillMos(), judges.Whisper()
    found: dict[str, Any] = {"judges": judges.versions()}
    for name, language in _LANGUAGES.items():
        rows = []
        edits, units = np.zeros(2), 0
        for r in (r for r in recordings if r.language is language):
            plain, marked = (resample(w, r.rate_hz, judges.RATE_HZ) for w in (r.plain, r.marked))
            rows.append(
                {
                    "pesq": judges.pesq(plain, marked),
                    "stoi": judges.stoi(plain, marked),
                    "mos_plain": mos.score(plain),
                    "mos_marked": mos.score(marked),
                }
            )
            text = " ".join(line.text for line in r.lines)
            counts = [
                text_scores.errors([text], recogniser.transcribe(wave, language))
                for wave in (plain, marked)
            ]
            edits += [count.edits for count in counts]
            units += counts[0].units
        means = {key: _mean([row[key] for row in rows]) for key in rows[0]}
        rates = {"error_rate_plain": edits[0] / units, "error_rate_marked": edits[1] / units}
        found[name] = means | rates | {"recordings": len(rows), "units": units}
    return found


def _mean(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return float(np.mean(known)) if known else None


def measure(args: argparse.Namespace, progress: Callable[[str], None]) -> dict[str, Any]:
    """Return the whole result.

    Raises:
        SovitsError: The pack cannot speak, or a judge is not there.
    """
    pack = load_pack(args.pack)
    with open_speaker(Settings(pack.path)) as speaker:
        recordings = list(record(speaker, args.recordings))
    result: dict[str, Any] = {
        "bench": "watermark",
        "environment": environment(),
        "setup": {
            "pack": pack.name,
            "recordings": len(recordings),
            "seconds": sum(len(r.plain) / r.rate_hz for r in recordings),
            "keys": args.keys,
        },
        "snr_db": snrs(recordings),
        "cost": cost(recordings),
        "false_alarms": false_alarms(recordings, args.keys),
        "survival": [],
    }
    for name in ("snr_db", "cost", "false_alarms"):
        progress(f"{name}: {result[name]}")
    for attack in ATTACKS:
        for row in survival(recordings, attack):
            result["survival"].append(asdict(row))
            progress(describe(row))
    if args.judge:
        result["audibility"] = judged(recordings)
        progress(f"audibility: {result['audibility']}")
    return result


def describe(row: Survival) -> str:
    """Return a row as a line of text."""
    return (
        f"{row.attack:<20} {row.part_s:>4g} s  found {row.found} of {row.num_parts}, "
        f"without the mark {row.alarms}; score {row.score_min:.1f} at least, "
        f"{row.score_median:.1f} median, threshold {row.threshold:.2f}"
    )


def run(args: argparse.Namespace) -> int:
    """Measure, print, and write the result where asked for."""
    try:
        result = measure(args, lambda text: print(text, flush=True))
    except SovitsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if args.json:
        write_json(args.json, result)
    return 0

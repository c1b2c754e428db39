"""The first half of `bench quality`: audio and a line for each utterance, nothing judged yet."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import numpy as np

from bench.quality.items import AGAIN, SPEAKER, Folder, Item, Kind
from bench.quality.lists import LISTS, Line, read_lines
from bench.quality.recordings import Recorded, clone_voices, read_recorded
from bench.quality.resynthesis import Resynthesizer
from bench.quality.speaker import Settings, Speaker, Speech, expected_s, open_speaker
from bench.seams import log_spectral_distance, snr_db
from engine.errors import InvalidParameter, SovitsError
from engine.types import MAX_LEADING_SILENCE_MS, FloatArray, Language, StreamMode, SynthesisParams

logger = logging.getLogger(__name__)
_OTHER = {Language.EN: Language.ZH, Language.ZH: Language.EN}
_TRUNCATED_DB = 120.0  # an identical stream has no noise at all; JSON has no infinity


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be spoken.

    Attributes:
        lists: Read by the pack's voices, each line by one voice in turn.
        limit: Lines of each list.
        voices: Only these; all of the pack's by default.
        speakers: List of recordings; each speaker is enrolled from the first one.
        cloned: Only these of them are enrolled; the others are there to be mistaken for.
        per_speaker: Lines spoken by each of them, in each language.
        resynthesis: List of recordings to speak again from their tokens.
        runs: Utterances that count for length and collapse only.
        streams: Sentences that are spoken in each streaming mode and compared.
    """

    lists: tuple[str, ...] = LISTS
    limit: int | None = None
    voices: tuple[str, ...] = ()
    speakers: Path | None = None
    cloned: tuple[str, ...] = ()
    per_speaker: int = 3
    resynthesis: Path | None = None
    runs: int = 0
    streams: int = 6


Progress = Callable[[str], None]


def speak(folder: Folder, settings: Settings, plan: Plan, progress: Progress) -> None:
    """Speak what the folder does not have yet; what cannot be spoken is logged and left out.

    Raises:
        SovitsError: The pack, a list or a voice cannot be used at all.
    """
    with open_speaker(settings) as speaker:
        voices = _voices(speaker, plan.voices)
        for line, voice in _readings(plan, voices):
            item = _item(Kind.SENTENCE, line, voice)
            _keep(
                folder, item, progress, partial(_say, speaker, item, line, _spoken_as(item), voice)
            )
        for number in range(plan.streams if voices else 0):
            _streams(folder, speaker, settings, voices, number, progress)
        for number in range(plan.runs if voices else 0):
            _run(folder, speaker, settings.params, voices, number, progress)
    if plan.speakers is not None:
        _clones(folder, settings, plan, read_recorded(plan.speakers), progress)
    if plan.resynthesis is not None:
        _resyntheses(folder, settings, read_recorded(plan.resynthesis), progress)


def _voices(speaker: Speaker, wanted: Sequence[str]) -> dict[Language, list[str]]:
    there = speaker.voices
    for name in wanted:
        if name not in there:
            raise InvalidParameter("voice", name, ", ".join(sorted(there)) or "no voice is there")
    found: dict[Language, list[str]] = {}
    for name in sorted(wanted or there):
        found.setdefault(there[name], []).append(name)
    return found


def _readings(plan: Plan, voices: dict[Language, list[str]]) -> Iterator[tuple[Line, str]]:
    """Yield each line with the voice that reads it: one of its language where there is one."""
    everybody = [name for names in voices.values() for name in names]
    for name in plan.lists if everybody else ():
        for number, line in enumerate(read_lines(name)[: plan.limit]):
            group = voices.get(line.language) or everybody
            yield line, group[number % len(group)]


def _item(kind: Kind, line: Line, voice: str) -> Item:
    name = f"{kind}/{line.id}-{voice}"
    return Item(name, kind, line.list, line.id, line.language, voice, line.forms, f"{name}.wav")


def _spoken_as(item: Item) -> Language:
    """Return what the frontend is told: a text in one language is known to be."""
    return item.language if item.list in ("en", "zh") else Language.AUTO


def _say(
    speaker: Speaker, item: Item, line: Line, language: Language, voice: str
) -> tuple[Item, FloatArray, int]:
    speech = speaker.say(line.text, language, voice)
    return _measured(item, speech), speech.samples, speech.rate_hz


def _measured(item: Item, speech: Speech) -> Item:
    return replace(
        item,
        seconds=round(speech.seconds, 3),
        expected_s=round(expected_s(speech.num_phonemes, item.language), 3),
        figures={"collapses": speech.collapses},
    )


def _keep(
    folder: Folder,
    item: Item,
    progress: Progress,
    speak_it: Callable[[], tuple[Item, FloatArray | None, int]],
) -> None:
    if item.id not in folder.items:
        try:
            folder.add(*speak_it())
        except SovitsError as error:
            logger.warning("%s cannot be spoken: %s", item.id, error)
    progress(item.id)


def _clones(
    folder: Folder,
    settings: Settings,
    plan: Plan,
    recorded: Sequence[Recorded],
    progress: Progress,
) -> None:
    """Enrol speakers from their first recording and let them speak both languages."""
    first = {r.speaker: r for r in reversed(recorded)}
    if unknown := sorted(set(plan.cloned) - first.keys()):
        raise InvalidParameter("clone", unknown[0], ", ".join(sorted(first)))
    speakers = {name: first[name] for name in sorted(plan.cloned or first)}
    voices_dir = folder.path / "voices"
    names = clone_voices(settings, speakers, voices_dir)
    for rec in recorded:
        if rec is not first[rec.speaker]:
            original = _original(rec, SPEAKER)
            _keep(folder, original, progress, partial(_copy, rec, SPEAKER))
    lines = {language: read_lines(language) for language in _OTHER}
    with open_speaker(replace(settings, voices_dir=voices_dir)) as speaker:
        for place, (name, rec) in enumerate(speakers.items()):
            if name not in names:
                continue
            for kind, language in (
                (Kind.CLONE, rec.language),
                (Kind.CROSS, _OTHER[rec.language]),
            ):
                for turn in range(plan.per_speaker):
                    line = lines[language][(place * plan.per_speaker + turn) % len(lines[language])]
                    item = _item(kind, line, name)
                    _keep(
                        folder,
                        item,
                        progress,
                        partial(_say, speaker, item, line, language, names[name]),
                    )


def _original(rec: Recorded, purpose: str) -> Item:
    name = f"{Kind.ORIGINAL}/{purpose}-{rec.speaker}-{rec.path.stem}"
    return Item(
        name, Kind.ORIGINAL, purpose, rec.path.stem, rec.language, rec.speaker, (rec.text,),
        f"{name}.wav",
    )  # fmt: skip


def _copy(rec: Recorded, purpose: str) -> tuple[Item, FloatArray, int]:
    audio = rec.read()
    item = replace(_original(rec, purpose), seconds=round(audio.duration_s, 3))
    return item, audio.samples, audio.sample_rate_hz


def _resyntheses(
    folder: Folder, settings: Settings, recorded: Sequence[Recorded], progress: Progress
) -> None:
    machine = Resynthesizer(settings)
    for rec in recorded:
        original = _original(rec, AGAIN)
        _keep(folder, original, progress, partial(_copy, rec, AGAIN))
        name = original.id.replace(Kind.ORIGINAL, Kind.RESYNTHESIS, 1)
        item = replace(original, id=name, kind=Kind.RESYNTHESIS, file=f"{name}.wav")
        _keep(folder, item, progress, partial(_again, machine, item, rec))


def _again(machine: Resynthesizer, item: Item, rec: Recorded) -> tuple[Item, FloatArray, int]:
    samples, rate_hz = machine.speak(rec)
    return replace(item, seconds=round(len(samples) / rate_hz, 3)), samples, rate_hz


def _run(
    folder: Folder,
    speaker: Speaker,
    params: SynthesisParams,
    voices: dict[Language, list[str]],
    number: int,
    progress: Progress,
) -> None:
    """Speak a line with a seed of its own and keep only how long it became."""
    line, voice = _nth(voices, number)
    item = replace(_item(Kind.RUN, line, voice), id=f"{Kind.RUN}/{number:04}", file="")

    def speak_it() -> tuple[Item, None, int]:
        seeded = replace(params, seed=params.seed + 1 + number)
        return _measured(item, speaker.say(line.text, line.language, voice, seeded)), None, 0

    _keep(folder, item, progress, speak_it)


def _streams(
    folder: Folder,
    speaker: Speaker,
    settings: Settings,
    voices: dict[Language, list[str]],
    number: int,
    progress: Progress,
) -> None:
    """Speak a line whole and streamed, same seed, and compare the samples."""
    line, voice = _nth(voices, number)
    item = replace(_item(Kind.STREAM, line, voice), id=f"{Kind.STREAM}/{number:04}", file="")

    def speak_it() -> tuple[Item, None, int]:
        # Only exact mode keeps the silence before a sentence unless told otherwise.
        keep = replace(settings.params, leading_silence_ms=MAX_LEADING_SILENCE_MS)
        spoken = {
            mode: speaker.say(line.text, line.language, voice, replace(keep, mode=mode))
            for mode in StreamMode
        }
        exact = spoken[StreamMode.EXACT].samples
        figures: dict[str, float] = {}
        for mode in (StreamMode.BALANCED, StreamMode.FAST):
            length = min(len(exact), len(spoken[mode].samples))
            pair = exact[:length], spoken[mode].samples[:length]
            figures[f"{mode}_snr_db"] = min(_TRUNCATED_DB, snr_db(*pair))
            figures[f"{mode}_lsd_db"] = log_spectral_distance(*pair)
            figures[f"{mode}_more_s"] = (len(spoken[mode].samples) - len(exact)) / spoken[
                mode
            ].rate_hz
        rounded = {name: round(float(np.float64(v)), 3) for name, v in figures.items()}
        return replace(item, seconds=spoken[StreamMode.EXACT].seconds, figures=rounded), None, 0

    _keep(folder, item, progress, speak_it)


def _nth(voices: dict[Language, list[str]], number: int) -> tuple[Line, str]:
    """Return the line and voice of turn `number`: every voice reads, every line is read."""
    languages = sorted(set(voices) & set(_OTHER))
    if not languages:
        raise InvalidParameter("voices", "none", "at least one that speaks en or zh")
    language = languages[number % len(languages)]
    lines, names = read_lines(language), voices[language]
    turn = number // len(languages)
    return lines[turn % len(lines)], names[(turn + turn // len(lines)) % len(names)]

"""A folder of somebody's recordings: which are used, cut into utterances, with their words.

With a list the words are given, and each file is one utterance. Without one, recordings are cut at
pauses into pieces of 2 to 10 s and transcribed; what came out is written as a list that can be
corrected before the same command is given again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import soundfile

from engine.audio.io import AudioLimits, Recording, read_audio
from engine.audio.vad import Segment, find_speech
from engine.errors import CheckpointError, SovitsError
from engine.train.prepare import AUDIO_SUFFIXES, Skipped, Source, read_list
from engine.train.transcribe import RATE_HZ, Transcriber
from engine.types import Language

LIST = "list.txt"
_PIECE_S = (2.0, 10.0)
_LONGEST_PAUSE_S = 0.6  # within a piece
_MARGIN_S = 0.1  # kept before and after a piece
_LIMITS = AudioLimits(num_bytes=1 << 30, duration_s=3600.0)


@dataclass(frozen=True, slots=True)
class Found:
    """Utterances, and what is not used and why."""

    sources: tuple[Source, ...]
    skipped: tuple[Skipped, ...]


def listed(folder: Path, listing: Path) -> Found:
    """Return the recordings a list names; files of the folder it does not name are reported.

    Raises:
        CheckpointError: The list cannot be read.
    """
    skipped: list[Skipped] = []
    sources = list(read_list(listing, skipped))
    named = {source.path.resolve() for source in sources}
    skipped += [
        Skipped(path.name, f"not named in {listing.name}")
        for path in recordings(folder)
        if path.resolve() not in named
    ]
    return Found(tuple(sources), tuple(skipped))


def transcribed(
    folder: Path,
    pieces_dir: Path,
    speaker: str,
    transcriber: Callable[[], Transcriber],
    language: Language | None,
    *,
    on_file: Callable[[str], None] = lambda name: None,
) -> Found:
    """Cut and transcribe the recordings of a folder; returns what its list says once it is there.

    Args:
        pieces_dir: Gets the pieces and their list.
        transcriber: Made when there is something to transcribe.

    Raises:
        CheckpointError: There is no folder, no recording, or nothing was said in any of them.
        BackendUnavailable: There is no transcriber.
    """
    listing = pieces_dir / LIST
    skipped: list[Skipped] = []
    if not listing.exists():
        paths = recordings(folder)  # before a transcriber is asked for in vain
        lines = list(
            _transcribe(paths, pieces_dir, speaker, transcriber(), language, skipped, on_file)
        )
        if not lines:
            why = f"; the first: {skipped[0].where}: {skipped[0].reason}" if skipped else ""
            raise CheckpointError(
                f"{folder}: no recording can be used ({len(skipped)} skipped{why}). Give clean "
                f"speech as {', '.join(AUDIO_SUFFIXES)}"
            )
        # Last, and whole: a killed run cuts again.
        temporary = listing.with_suffix(".part")
        temporary.write_text("\n".join(lines) + "\n", encoding="utf-8")
        temporary.replace(listing)
    sources = tuple(read_list(listing, skipped))
    return Found(sources, tuple(skipped))


def recordings(folder: Path) -> list[Path]:
    """Return the audio files of a folder, sorted.

    Raises:
        CheckpointError: It is no folder.
    """
    if not folder.is_dir():
        raise CheckpointError(f"{folder} is not a folder of recordings")
    return [path for path in sorted(folder.iterdir()) if path.suffix.lower() in AUDIO_SUFFIXES]


def _transcribe(
    paths: Sequence[Path],
    pieces_dir: Path,
    speaker: str,
    transcriber: Transcriber,
    language: Language | None,
    skipped: list[Skipped],
    on_file: Callable[[str], None],
) -> Iterator[str]:
    """Yield the lines of the list."""
    pieces_dir.mkdir(parents=True, exist_ok=True)
    for path in paths:
        on_file(path.name)
        try:
            parts = pieces(read_audio(path, limits=_LIMITS))
        except SovitsError as error:
            skipped.append(Skipped(path.name, str(error)))
            continue
        if not parts:
            skipped.append(Skipped(path.name, "holds no speech"))
        for number, part in enumerate(parts, 1):
            words = transcriber.transcribe(part.at_rate(RATE_HZ), language)
            text = " ".join(words.text.replace("|", " ").split())
            name = f"{path.stem}-{number:03}.wav"
            if not any(character.isalnum() for character in text):
                skipped.append(Skipped(name, "no words were heard in it"))
                continue
            soundfile.write(pieces_dir / name, part.samples, part.sample_rate_hz, subtype="PCM_16")
            yield f"{name}|{speaker}|{words.language}|{text}"


def pieces(recording: Recording) -> list[Recording]:
    """Return the speech of a recording in pieces of 2 to 10 s, cut where nobody speaks."""
    rate_hz = recording.sample_rate_hz
    shortest, longest = (round(seconds * rate_hz) for seconds in _PIECE_S)
    groups: list[list[Segment]] = []
    for segment in find_speech(recording.samples, rate_hz).segments:
        if groups and _joins(groups[-1], segment, rate_hz, longest):
            groups[-1].append(segment)
        else:
            groups.append([segment])
    margin = round(_MARGIN_S * rate_hz)
    found = [(max(0, group[0].start - margin), group[-1].end + margin) for group in groups]
    return [
        recording.cut(start, end)
        for group_start, group_end in found
        for start, end in _halves(group_start, group_end, longest)
        if end - start >= shortest
    ]


def _joins(group: Sequence[Segment], segment: Segment, rate_hz: int, longest: int) -> bool:
    pause = segment.start - group[-1].end
    return pause <= _LONGEST_PAUSE_S * rate_hz and segment.end - group[0].start <= longest


def _halves(start: int, end: int, longest: int) -> list[tuple[int, int]]:
    """Cut what has no pause into equal parts that are short enough."""
    count = -(-(end - start) // longest)
    edges = [start + (end - start) * i // count for i in range(count + 1)]
    return list(zip(edges[:-1], edges[1:], strict=True))

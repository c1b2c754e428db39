"""Dub a script through a running server: every line in its place, at one loudness.

    sovits-live dub scene.srt --voice anna -o out/ --track
    sovits-live dub lines.txt --voice anna -o out/

Writes OUT/0001.wav, 0002.wav, ... (48 kHz, 16 bit), OUT/NAME.dubbed.srt with the times the lines
really have and, with --track, OUT/NAME.wav. A line of a .srt that is too long or much too short for
its cue is spoken again at another speed, between --min-speed and --max-speed; one that is still too
long moves the next. Run again after a stop, only what is missing or changed is spoken.

Exit status: 0 all spoken, 1 the server refused a line, 2 bad arguments, 3 no connection.
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from clients.command_line import (
    EXIT_OK,
    EXIT_SERVER,
    add_server_arguments,
    add_voice_arguments,
    complain,
)
from clients.dubbing import DubFolder, FitLimits, Line, Voice, fitted, line_key, placed
from clients.errors import ServerError, StreamError
from clients.stream_client import StreamClient
from clients.subtitles import Cue, format_srt, parse_script, parse_srt

_AUDIO_SUFFIXES = (".wav", ".mp3", ".opus", ".ogg", ".flac")
_LATE_S = 0.05  # moved by less is not worth a word


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add this command's options."""
    parser.add_argument("script", type=Path, help="*.srt, or *.txt with a line per take")
    parser.add_argument("-o", "--out", type=Path, required=True, help="folder to write to")
    add_voice_arguments(parser)
    parser.add_argument("--seed", type=int, default=0, help="same seed, same takes (default: 0)")
    parser.add_argument("--track", action="store_true", help="also write one track of all lines")
    parser.add_argument("--speed", type=float, default=1.0, help="usual speed (default: 1.0)")
    parser.add_argument("--min-speed", type=float, default=0.8, help="slowest (default: 0.8)")
    parser.add_argument("--max-speed", type=float, default=1.4, help="fastest (default: 1.4)")
    parser.add_argument("--lufs", type=float, default=-16.0, help="loudness (default: -16)")
    parser.add_argument(
        "--gap", type=float, default=0.35, help="seconds between lines without times"
    )
    parser.add_argument("--jobs", type=int, default=2, help="lines spoken at a time (default: 2)")
    add_server_arguments(parser)


def run(args: argparse.Namespace) -> int:
    """Run the command and return its exit status."""
    try:
        limits = _check(args)
        cues = _read(args.script)
        return asyncio.run(_dub(args, cues, limits))
    except (ValueError, StreamError, OSError) as error:
        return complain(error)


def _check(args: argparse.Namespace) -> FitLimits:
    if not 1 <= args.jobs <= 8:
        raise ValueError(f"--jobs is {args.jobs}, valid: 1 to 8")
    if not -40 <= args.lufs <= -5:
        raise ValueError(f"--lufs is {args.lufs}, valid: -40 to -5")
    if not 0 <= args.gap <= 60:
        raise ValueError(f"--gap is {args.gap}, valid: 0 to 60 seconds")
    if args.out.suffix.lower() in _AUDIO_SUFFIXES and not args.out.is_dir():
        raise ValueError(f"--out is a folder, not {args.out}; --track writes one file into it")
    return FitLimits(args.speed, args.min_speed, args.max_speed)


def _read(path: Path) -> list[Cue]:
    """Return the lines of a script.

    Raises:
        ValueError: If it is neither kind, not text, or empty.
    """
    parsers = {".srt": parse_srt, ".txt": parse_script}
    parse = parsers.get(path.suffix.lower())
    if parse is None:
        raise ValueError(f"{path} is no script, valid: *.srt or *.txt")
    try:
        cues = parse(path.read_text("utf-8"))
    except UnicodeDecodeError as error:
        raise ValueError(f"{path} is not UTF-8: convert it first ({error})") from error
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error
    if not cues:
        raise ValueError(f"{path} has no lines")
    return cues


async def _dub(args: argparse.Namespace, cues: Sequence[Cue], limits: FitLimits) -> int:
    folder = DubFolder(args.out)
    console = Console(stderr=True)
    async with StreamClient(args.url, args.token) as client:
        job = _Job(args, client, folder, limits)
        with _progress(console) as progress:
            lines = await job.run(cues, progress)
    for number, error in sorted(job.failed.items()):
        console.print(f"line {number}: {error}", style="red", markup=False)
    if job.failed:
        return EXIT_SERVER
    done = [line for line in lines if line is not None]
    _write(args, folder, cues, done, console)
    console.print(
        f"{len(done)} lines, {job.num_spoken} spoken now, {job.num_kept} kept; {args.out}/",
        markup=False,
    )
    return EXIT_OK


def _progress(console: Console) -> Progress:
    columns = (TextColumn("dub"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    return Progress(*columns, TextColumn("{task.description}", markup=False), console=console)


def _write(
    args: argparse.Namespace,
    folder: DubFolder,
    cues: Sequence[Cue],
    lines: Sequence[Line],
    console: Console,
) -> None:
    """Write subtitles and track, and say what could not keep its time."""
    times = placed(cues, lines, gap_s=args.gap)
    for cue, now in zip(cues, times, strict=True):
        if cue.start_s is not None and now.start_s is not None:
            late_s = now.start_s - cue.start_s
            if late_s > _LATE_S:
                console.print(f"line {cue.number}: {late_s:.2f} s late", style="yellow")
    stem = args.script.stem
    (args.out / f"{stem}.dubbed.srt").write_text(format_srt(times), "utf-8")
    if args.track:
        folder.write_track(args.out / f"{stem}.wav", times, lines)


class _Job:
    """All lines of one script.

    Attributes:
        failed: Why, by the number of the line.
    """

    def __init__(
        self, args: argparse.Namespace, client: StreamClient, folder: DubFolder, limits: FitLimits
    ) -> None:
        self._folder = folder
        self._limits = limits
        self._lufs: float = args.lufs
        self._jobs: int = args.jobs
        settings = {name: getattr(args, name) for name in ("voice", "style", "lang", "seed")}
        self._voice = Voice(client, settings)
        speeds = (limits.usual, limits.slowest, limits.fastest)
        self._options: Mapping[str, Any] = {
            **settings,
            "speeds": speeds,
            "lufs": args.lufs,
            "model": client.ready.model,
        }
        self.failed: dict[int, ServerError] = {}
        self.num_spoken = 0
        self.num_kept = 0

    async def run(self, cues: Sequence[Cue], progress: Progress) -> list[Line | None]:
        """Speak what is not there yet; return the lines in order, None for those that failed."""
        task = progress.add_task("", total=len(cues))
        places = asyncio.Semaphore(self._jobs)

        async def one(cue: Cue) -> Line | None:
            async with places:
                line = await self._line(cue)
                progress.update(task, advance=1, description=cue.spoken[:30])
                return line

        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(one(cue)) for cue in cues]
        except* StreamError as errors:
            raise _first(errors) from None
        return [done.result() for done in tasks]

    async def _line(self, cue: Cue) -> Line | None:
        place_s = None
        if cue.start_s is not None and cue.end_s is not None:
            place_s = cue.end_s - cue.start_s
        key = line_key(cue.spoken, place_s, self._options)
        line = self._folder.done(cue.number, key)
        if line is not None:
            self.num_kept += 1
            return line
        try:
            samples, speed = await fitted(self._voice.speak, cue.spoken, place_s, self._limits)
        except ServerError as error:
            self.failed[cue.number] = error
            return None
        self.num_spoken += 1
        return self._folder.add(cue, key, samples, speed, self._lufs)


def _first(errors: BaseExceptionGroup[StreamError]) -> StreamError:
    """Return one of the errors: they have one cause, the session."""
    error = errors.exceptions[0]
    return _first(error) if isinstance(error, BaseExceptionGroup) else error

"""Compare this server with what is installed beside it, on the same random full-size checkpoints.

    sovits-live bench rivals --work DIR --venv gpt-sovits-cpufast=VENV --venv gsv-tts-lite=VENV \\
        --data gsv-tts-lite=MODELS --venv genie-tts=VENV --data genie-tts=GENIE_DATA \\
        --venv upstream=VENV --upstream CHECKOUT --json rivals.json --report rivals.html

Everybody speaks the same sentence through a streaming interface of its own, alone and four at a
time, in turns: A B C, C B A, ... A round counts only if other processes left the machine alone.
Each finished round is written down in DIR, so a run that was stopped goes on where it was; the
first one also prepares files (minutes). Nothing is installed or fetched: environments are yours.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from bench.environment import environment, write_json
from bench.report import write_page
from bench.rivals.checkpoints import write_checkpoints
from bench.rivals.engines import ENGINES, OUR_PYTHON, UPSTREAM, Engine, Place
from bench.rivals.measure import Plan, is_quiet, measure_round
from bench.rivals.summary import summarise
from bench.targets.base import Refused, WireClosed
from engine.errors import BackendUnavailable, InvalidParameter

TEXT = "We walked along the river until the lamps came on in the harbor."
TOKENS = 75
_SHOWN = (
    ("first", "first_audio_s", 3, " s"),
    ("rtf", "rtf", 3, ""),
    ("t2s", "t2s_tokens_per_s", 1, " tok/s"),
    ("decoder", "decoder_rtf", 3, ""),
    ("rss", "rss_mb", 0, " MB"),
    ("x4 first p95", "first_audio_x4_p95_s", 3, " s"),
)


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add = parser.add_argument
    rivals = ", ".join(name for name, engine in ENGINES.items() if not engine.is_ours)
    add("--work", type=Path, required=True, help="folder for files, raw figures and logs")
    add("--venv", action="append", default=[], metavar="NAME=PATH", help=f"one of {rivals}")
    add("--data", action="append", default=[], metavar="NAME=PATH",
        help="the package's own data, where it keeps them outside its code")  # fmt: skip
    add("--upstream", type=Path, metavar="CHECKOUT", help="of the public implementation")
    add("--rounds", type=int, default=3)
    add("--requests", type=int, default=3, help="measured sentences of one client in a round")
    add("--only", action="append", default=[], metavar="NAME", help="measure these now")
    add("--limit-s", type=float, default=2400.0, help="begin no round after this")
    add("--noisy", action="store_true", help="rounds count though others used the machine")
    add("--prepare", action="store_true", help="make the files and stop")
    add("--json", type=Path, help="write medians and ratios here")
    add("--report", type=Path, help="write a page of them here")


def chosen(args: argparse.Namespace) -> tuple[dict[str, Path], dict[str, str]]:
    """Return the interpreter of each that can be measured, and why the others cannot.

    Raises:
        InvalidParameter: A name or path that is not there.
    """
    venvs = named_paths("venv", args.venv)
    pythons = {name: OUR_PYTHON for name, engine in ENGINES.items() if engine.is_ours}
    not_run = {}
    for name in ENGINES:
        if name in pythons:
            continue
        if name in venvs:
            pythons[name] = python_of(venvs[name])
        else:
            not_run[name] = f"not given: --venv {name}=PATH"
    if args.upstream is None and UPSTREAM in pythons:
        raise InvalidParameter("upstream", None, "a checkout, with --venv upstream=PATH")
    for name in args.only:
        if name not in ENGINES:
            raise InvalidParameter("only", name, ", ".join(ENGINES))
    return pythons, not_run


def named_paths(option: str, given: Sequence[str]) -> dict[str, Path]:
    """Return NAME=PATH options.

    Raises:
        InvalidParameter: Another form, an unknown name or no such path.
    """
    found = {}
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or name not in ENGINES:
            raise InvalidParameter(option, text, f"NAME=PATH with one of {', '.join(ENGINES)}")
        if not Path(path).is_dir():
            raise InvalidParameter(option, text, "a folder that is there")
        found[name] = Path(path).absolute()
    return found


def python_of(venv: Path) -> Path:
    """Return a virtual environment's interpreter.

    Raises:
        InvalidParameter: It has none.
    """
    python = venv / "bin" / "python"
    if not python.exists():
        raise InvalidParameter("venv", str(venv), "a virtual environment, with bin/python")
    return python


class Comparison:
    """All rounds of all engines, on disk as they are finished."""

    def __init__(self, args: argparse.Namespace) -> None:
        self._args = args
        self._pythons, self.not_run = chosen(args)
        self._plan = Plan(TEXT, alone=args.requests)
        work = args.work.absolute()  # rivals run in folders of their own
        self._raw = work / "raw"
        self._raw.mkdir(parents=True, exist_ok=True)
        files = write_checkpoints(work / "files", TOKENS)
        data = named_paths("data", args.data)
        checkout = args.upstream.absolute() if args.upstream else None
        self._places = {
            name: Place(python, _folder(work, ENGINES[name]), files, data.get(name), checkout)
            for name, python in self._pythons.items()
        }

    def prepare_all(self) -> bool:
        """Let everybody make its files; False if somebody cannot."""
        return all([self.prepare(name) for name in self._places])

    def prepare(self, name: str) -> bool:
        """Let one make its files, where they are not there yet; False if it cannot."""
        place = self._places[name]
        place.work.mkdir(parents=True, exist_ok=True)
        try:
            ENGINES[name].prepare(place)
        except (BackendUnavailable, OSError, ImportError) as error:
            self._give_up(name, f"not prepared: {error}")
            return False
        return True

    def measure(self) -> None:
        """Do the rounds that are missing, in turns."""
        begun_s = time.monotonic()
        names = [name for name in self._places if not self._args.only or name in self._args.only]
        for number in range(self._args.rounds):
            for name in names if number % 2 == 0 else reversed(names):
                if name in self.not_run or self._is_done(name, number):
                    continue
                if time.monotonic() - begun_s > self._args.limit_s:
                    print("bench rivals: out of time, call again to go on")
                    return
                if self.prepare(name):
                    self._round(name, number)

    def _round(self, name: str, number: int) -> None:
        try:
            figures = measure_round(ENGINES[name], self._places[name], self._plan)
        except (BackendUnavailable, Refused, WireClosed) as error:
            self._give_up(name, f"could not be measured: {error}")
            return
        quiet = is_quiet(figures["levels"])
        shares = [f"{100 * level['others_share']:.1f} %" for level in figures["levels"]]
        print(f"{name} round {number}: others used {', '.join(shares)} of the machine")
        if not quiet and not self._args.noisy:
            print("  does not count: the machine was not quiet")
        entry = {"engine": name, "round": number, "quiet": quiet, "plan": asdict(self._plan)}
        write_json(self._path(name, number), {**entry, **figures})

    def _give_up(self, name: str, why: str) -> None:
        print(f"{name}: {why}")
        self.not_run[name] = why
        (self._raw / f"{name}.failed").write_text(why, encoding="utf-8")

    def _is_done(self, name: str, number: int) -> bool:
        return any(entry["round"] == number for entry in self._entries(name))

    def _entries(self, name: str) -> list[dict[str, Any]]:
        """Return the rounds on disk that count."""
        paths = sorted(self._raw.glob(f"{name}-[0-9]*.json"))
        found = [json.loads(path.read_text(encoding="utf-8")) for path in paths]
        return [entry for entry in found if entry["quiet"] or self._args.noisy]

    def _path(self, name: str, number: int) -> Path:
        return Path(self._raw / f"{name}-{number}.json")

    def result(self) -> dict[str, Any]:
        """Return what all rounds on disk come to."""
        rounds: dict[str, list[dict[str, Any]]] = {name: self._entries(name) for name in ENGINES}
        for name, entries in rounds.items():
            failed = self._raw / f"{name}.failed"
            if entries:
                self.not_run.pop(name, None)
            elif failed.is_file():
                self.not_run[name] = failed.read_text(encoding="utf-8")
            elif name in self._places:
                self.not_run.setdefault(name, "no round yet, or none while the machine was quiet")
        setup = {"text": TEXT, "tokens": TOKENS, **asdict(self._plan)}
        found = {"bench": "rivals", "setup": setup, **summarise(rounds), "not_run": self.not_run}
        # A run that was stopped may go on with other code: then its figures are not of one build.
        environments = [e["environment"] for entries in rounds.values() for e in entries]
        found["measured"] = {
            key: sorted({str(e[key]) for e in environments}) for key in ("git", "date")
        }
        found["all_quiet"] = all(entry["quiet"] for entries in rounds.values() for entry in entries)
        return found


def _folder(work: Path, engine: Engine) -> Path:
    return Path(work / (engine.folder or engine.name)).absolute()


def describe(result: Mapping[str, Any]) -> str:
    """Return the figures as lines of text."""
    lines = []
    for name, f in result["engines"].items():
        cells = [
            f"{label} {_number(f[figure], digits)}{unit}" for label, figure, digits, unit in _SHOWN
        ]
        lines.append(f"{name:<20}{'  '.join(cells)}  right x4 {f['right_x4']}  n={f['n']}")
    for key in ("ratios", "ratios_auto"):
        for what, row in result.get(key, {}).items():
            ratios = "  ".join(f"{name} {_number(value)}" for name, value in row.items())
            lines.append(f"{key} {what:<22}{ratios}")
    lines += [f"not run: {name}: {why[:200]}" for name, why in result["not_run"].items()]
    return "\n".join(lines)


def _number(value: float | None, digits: int = 3) -> str:
    return "-" if value is None else f"{value:.{digits}f}"


def run(args: argparse.Namespace) -> int:
    """Measure what is missing and write what there is; status 1 when nothing could be measured."""
    try:
        comparison = Comparison(args)
    except InvalidParameter as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if args.prepare:
        return int(not comparison.prepare_all())
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(1))  # so that servers end too
    comparison.measure()
    result = comparison.result()
    print(describe(result))
    if args.json:
        write_json(args.json, result)
    if args.report:
        write_page(args.report, {"rivals": {"environment": environment(), **result}})
    return 0 if result["engines"] else 1

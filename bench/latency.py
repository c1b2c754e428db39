"""Latency of a streaming TTS server as its listeners have it, through its real socket.

    sovits-live bench latency --url http://127.0.0.1:8080 --kind native --concurrency 1,4
    sovits-live bench latency --url http://127.0.0.1:9880 --kind api_v2 --voice a.wav
    sovits-live bench latency ... --tokens-per-s 40            # text as a language model writes it
    sovits-live bench latency ... --rate 0.5,1,2               # open loop, Poisson arrivals
    sovits-live bench latency ... --cancel-after-ms 500        # barge-in
    sovits-live bench latency ... --json a.json --report a.html

Every clock is defined in bench/README.md. Text, order and arrivals are fixed by the seed.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import sys
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.decode import CODECS, AudioFormat
from bench.environment import QUIET_SHARE, QuietWatch, environment, write_json
from bench.load import Driver, Load, Outcome
from bench.processes import server_cpu_s
from bench.report import write_page
from bench.results import name_of
from bench.statistics import as_raw, summarise
from bench.targets.base import Line, OpenSession, Refused, TargetConfig, WireClosed
from bench.targets.connect import KINDS, opener
from bench.texts import Corpus, corpus_names, corpus_of, load_corpus, tokens_of
from engine.errors import InvalidParameter

# Facts of a format or a voice, which cost time that the clocks have; the rest is wrong audio.
_HARMLESS = frozenset({"header_only_first_byte", "leading_silence"})
_SHOWN = ("first_byte_s", "first_frame_s", "first_audible_s")
_CLAUSE = ("clause_byte_s", "clause_frame_s", "clause_audible_s")  # of tokens; else the same
_LATER = ("gap_s", "cancel_last_byte_s", "cancel_confirmed_s")
_LATE_S = 0.005


def add_server_arguments(parser: argparse.ArgumentParser, *, is_url_required: bool = True) -> None:
    """Declare what says which server is measured, and where the figures go."""
    add = parser.add_argument
    url = "http://HOST:PORT or ws://HOST:PORT, a path where it differs"
    add("--url", required=is_url_required, help=url)
    add("--kind", choices=KINDS, default="native", help="what the server speaks")
    add("--key", help="API key")
    add("--voice")
    add("--codec", choices=CODECS, default="pcm_s16le")
    add("--rate-hz", type=int, default=24000, help="of the audio")
    add("--option", action="append", default=[], metavar="NAME=JSON", help="added to the request")
    add("--lang", help="of the text; the corpus's own by default")
    add("--seed", type=int, default=1)
    add("--json", type=Path, help="write all figures and every run here")
    add("--report", type=Path, help="write a page of them here")


def add_target_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare what says which server is measured and what it speaks."""
    add_server_arguments(parser)
    add = parser.add_argument
    add("--corpus", default="zh-19", help=f"one of {', '.join(corpus_names())}")
    add("--text", action="append", help="this text instead; may be repeated")
    add("--tokens-per-s", type=float, default=0.0, help="write text so fast; 0: as a whole")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    add_target_arguments(parser)
    add = parser.add_argument
    add("--concurrency", default="1", help="clients at once, closed loop: 1,2,4,8,16,32")
    add("--rate", help="arrivals per second instead, open loop: 0.5,1,2")
    add("--requests", type=int, default=20, help="measured utterances per level")
    add("--warmups", type=int, default=2, help="per connection and level, not measured")
    add("--listen", action="store_true", help="clients hear an answer out before the next")
    add("--cancel-after-ms", type=float, help="stop each utterance so long after its first audio")


def corpus_from(args: argparse.Namespace) -> Corpus:
    """Return what is to be spoken.

    Raises:
        InvalidParameter: Unknown corpus.
    """
    if args.text:
        return corpus_of("own", args.lang or "auto", args.text)
    return load_corpus(args.corpus)


def target_from(args: argparse.Namespace, language: str) -> OpenSession:
    """Return what opens sessions.

    Raises:
        InvalidParameter: An option that cannot be.
    """
    config = TargetConfig(
        url=args.url,
        key=args.key,
        voice=args.voice,
        language=args.lang or language,
        format=AudioFormat(args.codec, args.rate_hz),
        seed=args.seed,
        writes_tokens=getattr(args, "tokens_per_s", 0.0) > 0,
        options=dict(_option(text) for text in args.option),
    )
    return opener(args.kind, config)


def lines_from(args: argparse.Namespace, corpus: Corpus) -> list[Line]:
    """Return the corpus as it is to be written."""
    cancel_ms = getattr(args, "cancel_after_ms", None)
    return [
        Line(
            tokens_of(text) if args.tokens_per_s > 0 else (text,),
            args.tokens_per_s,
            None if cancel_ms is None else cancel_ms / 1000,
        )
        for text in corpus.lines
    ]


def setup_of(args: argparse.Namespace, corpus: Corpus) -> dict[str, Any]:
    """Return what must be equal for two results to be compared."""
    return {
        "corpus": corpus.name,
        "corpus_sha256": corpus.sha256,
        "language": args.lang or corpus.language,
        "tokens_per_s": args.tokens_per_s,
        "cancel_after_ms": getattr(args, "cancel_after_ms", None),
        "codec": args.codec,
        "rate_hz": args.rate_hz,
        "seed": args.seed,
        "requests": getattr(args, "requests", None),
        "warmups": getattr(args, "warmups", None),
        "listens": getattr(args, "listen", None),
    }


def loads_from(args: argparse.Namespace) -> list[Load]:
    """Return the levels.

    Raises:
        InvalidParameter: If one is no positive number.
    """
    name = "rate" if args.rate else "concurrency"
    text = args.rate or args.concurrency
    try:
        values = [float(part) if args.rate else int(part) for part in text.split(",")]
    except ValueError as error:
        kind = "numbers" if args.rate else "whole numbers"
        raise InvalidParameter(name, text, f"{kind} with commas between") from error
    if any(value <= 0 for value in values) or args.requests < 1:
        raise InvalidParameter(name, text, "more than 0, and --requests at least 1")
    common: dict[str, Any] = {
        "requests": args.requests,
        "warmups": args.warmups,
        "seed": args.seed,
        "listens": args.listen,
    }
    if args.rate:
        return [Load(clients=8, rate_per_s=value, **common) for value in values]
    return [Load(clients=int(value), **common) for value in values]


def shape_of(load: Load) -> dict[str, float]:
    """Return what tells a level from the others."""
    return {"rate_per_s": load.rate_per_s} if load.rate_per_s else {"clients": load.clients}


def level_of(shape: Mapping[str, Any], outcome: Outcome, others: float) -> dict[str, Any]:
    """Return one level for the JSON."""
    return {
        "load": shape,
        "others_share": others,
        "summary": summarise(outcome),
        "runs": [as_raw(run) for run in outcome.runs],
    }


async def _levels(driver: Driver, loads: Sequence[Load], url: str) -> list[dict[str, Any]]:
    levels = []
    for load in loads:
        watch = QuietWatch(server_cpu_s(url))
        outcome = await driver.run(load)
        levels.append(level_of(shape_of(load), outcome, watch.share()))
        print(describe(levels[-1]))
    return levels


def describe(level: Mapping[str, Any]) -> str:
    """Return a level in a few lines."""
    summary = level["summary"]
    head = f"{name_of(level['load'])}: n={summary['n']}"
    lines = [f"{head}, {summary['audio_per_s']:.2f} s of audio per second"]
    clauses = _CLAUSE if summary["clause_byte_s"] != summary["first_byte_s"] else ()
    for name in (*_SHOWN, *clauses, *_LATER):
        if summary[name] is not None:
            lines.append(f"  {name[:-2]:<18}{_figures(summary[name], 1000, 1, ' ms')}")
    if summary["rtf"] is not None:
        lines.append(f"  {'rtf':<18}{_figures(summary['rtf'], 1, 3, '')}")
    underruns = summary["underruns"]
    gaps = " / ".join(str(found["gaps"]) for found in underruns.values())
    stalled = " / ".join(f"{1000 * found['stalled_s']:.0f}" for found in underruns.values())
    buffers = " / ".join(underruns)
    lines.append(f"  underruns at {buffers} ms of buffer: {gaps}, {stalled} ms of silence in all")
    for label, is_told in (("WRONG", False), ("to know", True)):
        told = [f"{k} {v}" for k, v in summary["problems"].items() if (k in _HARMLESS) == is_told]
        lines += [f"  {label}: {', '.join(told)}"] if told else []
    for reason, count in Counter(summary["errors"]).most_common(3):
        lines.append(f"  {count} of {summary['n']}: {reason}")
    return "\n".join(lines + _doubts(level))


def _figures(found: Mapping[str, float], scale: float, digits: int, unit: str) -> str:
    names = ("p50", "p95", "p99", "max")
    cells = [f"{name} {scale * found[name]:7.{digits}f}" for name in names]
    return "  ".join(cells) + f"{unit}  n={found['n']}"


def _doubts(level: Mapping[str, Any]) -> list[str]:
    """Return what speaks against the figures."""
    found, lag_s = [], level["summary"]["client_lag_p99_s"]
    if lag_s > _LATE_S:
        found.append(
            f"  this client was {1000 * lag_s:.0f} ms late itself (p99): less can't be told"
        )
    if level["others_share"] > QUIET_SHARE:
        share = 100 * level["others_share"]
        found.append(f"  not quiet: others used {share:.0f} % of this machine")
    return found


def target_of(args: argparse.Namespace) -> dict[str, Any]:
    """Return who was measured, for the JSON."""
    options = dict(_option(text) for text in args.option)
    return {"kind": args.kind, "url": args.url, "voice": args.voice, "options": options}


def _option(text: str) -> tuple[str, object]:
    name, is_given, value = text.partition("=")
    if not is_given:
        raise InvalidParameter("option", text, "NAME=VALUE, the value in JSON or plain text")
    try:
        return name, json.loads(value)
    except ValueError:
        return name, value


def run(args: argparse.Namespace) -> int:
    """Measure and print; status 1 when a server could not be measured or its audio was wrong."""
    try:
        corpus = corpus_from(args)
        open_session = target_from(args, corpus.language)
        driver = Driver(open_session, lines_from(args, corpus), time.perf_counter)
        levels = asyncio.run(_levels(driver, loads_from(args), args.url))
    except (InvalidParameter, Refused, WireClosed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    result = {
        "bench": "latency",
        "target": target_of(args),
        "setup": setup_of(args, corpus),
        "levels": levels,
    }
    if args.json:
        write_json(args.json, result)
    if args.report:
        write_page(args.report, {"latency": {"environment": environment(), **result}})
    return int(any(set(level["summary"]["problems"]) - _HARMLESS for level in levels))

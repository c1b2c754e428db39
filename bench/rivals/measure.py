"""One engine, one round: start it, warm it up, one speaker, four at once, and what it all took."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bench.decode import AudioFormat
from bench.environment import QUIET_SHARE, QuietWatch
from bench.load import Driver, Load, Outcome
from bench.rivals.engines import Engine, Place
from bench.rivals.serving import Served, free_port, serving
from bench.statistics import as_raw
from bench.targets.base import Line, TargetConfig
from bench.targets.connect import opener

RATE_HZ = 32000
TOGETHER = 4


@dataclass(frozen=True, slots=True)
class Plan:
    """What is asked of every engine in a round.

    Attributes:
        alone: Utterances of one client.
        together: Utterances of each of four clients at once.
    """

    text: str
    alone: int = 3
    together: int = 1


def measure_round(engine: Engine, place: Place, plan: Plan) -> dict[str, Any]:
    """Return the raw figures of one round.

    Raises:
        BackendUnavailable: It did not start.
    """
    port, parts = free_port(), place.work / "parts.jsonl"
    parts.unlink(missing_ok=True)
    command = engine.command(place, port, parts)
    with serving(command, port, place.work / "server.log", engine.health) as served:
        driver = _driver(engine, place, port, plan)
        one = Load(clients=1, requests=plan.alone, warmups=1)
        alone = _level(driver, one, served, parts)
        rss_mb = served.peak_rss_mb()
        four = Load(clients=TOGETHER, requests=TOGETHER * plan.together, warmups=0)
        levels = [alone, _level(driver, four, served, parts)]
        return {
            "ready_s": served.ready_s,
            "rss_mb": rss_mb,
            "rss_together_mb": served.peak_rss_mb(),
            "levels": levels,
        }


def _driver(engine: Engine, place: Place, port: int, plan: Plan) -> Driver:
    config = TargetConfig(
        url=f"http://127.0.0.1:{port}",
        voice=engine.voice(place),
        language="en",
        format=AudioFormat("pcm_s16le", RATE_HZ),
        seed=1,
        options=engine.options(place),
    )
    return Driver(opener(engine.kind, config), [Line((plan.text,))], time.perf_counter)


def _level(driver: Driver, load: Load, served: Served, parts: Path) -> dict[str, Any]:
    watch = QuietWatch(served.cpu_s)
    begun_s, cpu_s = time.perf_counter(), served.cpu_s()
    outcome: Outcome = asyncio.run(driver.run(load))
    return {
        "clients": load.clients,
        "others_share": watch.share(),
        "wall_s": time.perf_counter() - begun_s,
        "cpu_s": served.cpu_s() - cpu_s,  # warm-ups too
        "runs": [as_raw(run) for run in outcome.runs],
        "parts": part_seconds(parts, outcome.started_s),
        "is_alive": served.is_alive,
    }


def part_seconds(path: Path, since_s: float) -> dict[str, dict[str, float]]:
    """Return how often and how long each part was at work since then."""
    found: dict[str, dict[str, float]] = {}
    if not path.is_file():
        return found
    for line in path.read_text(encoding="utf-8").splitlines():
        entry = json.loads(line)
        if entry["begun_s"] >= since_s:
            part = found.setdefault(entry["part"], {"calls": 0, "s": 0.0})
            part["calls"] += 1
            part["s"] += entry["s"]
    return found


def is_quiet(levels: Sequence[Mapping[str, Any]]) -> bool:
    """True if others left the machine alone."""
    return all(level["others_share"] <= QUIET_SHARE for level in levels)

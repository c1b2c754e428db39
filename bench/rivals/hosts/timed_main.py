"""Runs a module as a program and writes down how long chosen methods took, a JSON line each call.

It runs in the interpreter of whoever is measured, so only the standard library is there. It is
copied to where it is used; what to time is in the JSON file beside it: `log`, and `targets`, a list
of `PART=MODULE:CLASS.METHOD`.

    timed_main.py MODULE ARGUMENTS

Of a generator, each step counts. Times are of the machine's monotonic clock. A process that the
program starts with multiprocessing's `spawn` runs this file too, and is timed as well.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import runpy
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any


class PartLog:
    """Appends one line for each finished call."""

    def __init__(self, path: str) -> None:
        self._path = path

    def add(self, part: str, begun_s: float) -> None:
        """Write a call that ends now."""
        line = json.dumps({"part": part, "begun_s": begun_s, "s": time.perf_counter() - begun_s})
        with open(self._path, "a", encoding="utf-8") as file:
            file.write(line + "\n")


def timed(part: str, function: Callable[..., Any], log: PartLog) -> Callable[..., Any]:
    """Return the function with its time written down."""

    def stepped(steps: Any) -> Iterator[Any]:
        while True:
            begun_s = time.perf_counter()
            try:
                value = next(steps)
            except StopIteration:
                return
            finally:
                log.add(part, begun_s)
            yield value

    @functools.wraps(function)
    def wrapped(*args: Any, **kwargs: Any) -> Any:
        begun_s = time.perf_counter()
        result = function(*args, **kwargs)
        if inspect.isgenerator(result):
            return stepped(result)
        log.add(part, begun_s)
        return result

    return wrapped


def install(target: str, log: PartLog) -> None:
    """Time one `PART=MODULE:CLASS.METHOD`."""
    part, _, place = target.partition("=")
    module, _, name = place.partition(":")
    owner_name, _, method = name.partition(".")
    owner = getattr(importlib.import_module(module), owner_name)
    setattr(owner, method, timed(part, getattr(owner, method), log))


def main() -> None:
    """Install the timers; in the first process, run the module."""
    settings = json.loads(Path(__file__).with_suffix(".json").read_text(encoding="utf-8"))
    log = PartLog(settings["log"])
    for target in settings["targets"]:
        install(target, log)
    if __name__ == "__main__":
        sys.argv = sys.argv[1:]
        runpy.run_module(sys.argv[0], run_name="__main__")


if __name__ in ("__main__", "__mp_main__"):
    main()

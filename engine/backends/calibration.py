"""Choices made by timing them here, once per pack, machine and runtime.

8-bit weights are read four times faster, but how fast they are used depends on the processor's
integer instructions; a decoder in bfloat16 takes half the time where the processor computes in it
and longer where not. Choices are kept in the pack's `cache` folder where that can be written.
"""

from __future__ import annotations

import json
import logging
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import onnxruntime as ort

from engine.manifest import ExportManifest
from engine.types import Array

logger = logging.getLogger(__name__)
FILE = "calibration.json"
# Above this the 8-bit logits are a different network's, whatever the speed. Measured: 1.6e-2 to
# 1.8e-2 with random weights.
MAX_ERROR = 0.05
_ROUNDS = 8
_PAST = 128
OpenStep = Callable[[str], ort.InferenceSession]  # precision -> the step graph


def calibrated_precision(
    folder: Path, manifest: ExportManifest, open_step: OpenStep, threads: int
) -> str:
    """Return the fastest precision of the step graph that was exported and is accurate enough.

    Args:
        folder: Where the choice is kept; made if it can be.
        threads: Of the step; another number is another choice.
    """
    errors = {
        name: max(manifest.record(graph, name).error for graph in ("prefill", "step"))
        for name in manifest.precisions("step")
    }
    candidates = [name for name, error in errors.items() if error <= MAX_ERROR]
    if len(candidates) < 2:
        return candidates[0] if candidates else "fp32"
    key = "/".join((manifest.pack_fingerprint[:16], ort.__version__, _processor(), str(threads)))
    return _fastest(
        folder,
        key,
        candidates,
        lambda: time_steps({name: open_step(name) for name in candidates}),
        "T2S step",
    )


def calibrated_runtime(
    folder: Path,
    manifest: ExportManifest,
    versions: Mapping[str, str],
    time_decoders: Callable[[], dict[str, float]],
    threads: int,
) -> str:
    """Return the runtime whose decoder is fastest here.

    Args:
        folder: Where the choice is kept; made if it can be.
        versions: Of the runtimes to choose from; another version is another choice.
        time_decoders: Returns the seconds of one decoder call in each of them.
        threads: Of the decoder.
    """
    named = " ".join(f"{name} {version}" for name, version in versions.items())
    key = "/".join(("decoder", manifest.pack_fingerprint[:16], named, _processor(), str(threads)))
    return _fastest(folder, key, list(versions), time_decoders, "decoder")


def _fastest(
    folder: Path,
    key: str,
    candidates: Sequence[str],
    measure: Callable[[], dict[str, float]],
    what: str,
) -> str:
    """Return the choice kept under `key`, or make it and keep it."""
    known = _read(folder).get(key, "")
    if known in candidates:
        return known
    times = measure()
    chosen = min(times, key=lambda name: times[name])
    listing = ", ".join(f"{name} {seconds * 1e3:.2f} ms" for name, seconds in times.items())
    logger.info("%s: %s; using %s", what, listing, chosen)
    _write(folder, {**_read(folder), key: chosen})
    return chosen


def time_steps(sessions: Mapping[str, ort.InferenceSession]) -> dict[str, float]:
    """Return the best CPU time of a step of one row, in seconds; rounds alternate."""
    best = dict.fromkeys(sessions, float("inf"))
    inputs = {name: _inputs(session) for name, session in sessions.items()}
    for _ in range(_ROUNDS):
        for name, session in sessions.items():
            started = time.process_time()
            session.run(None, inputs[name])
            best[name] = min(best[name], time.process_time() - started)
    return best


def _inputs(session: ort.InferenceSession) -> dict[str, Array]:
    sizes = {"rows": 1, "past": _PAST}
    arrays: dict[str, Array] = {}
    for value in session.get_inputs():
        shape = [sizes[dim] if isinstance(dim, str) else dim for dim in value.shape]
        dtype = np.int64 if value.type == "tensor(int64)" else np.float32
        arrays[value.name] = np.zeros(shape, dtype)
    return arrays


def _read(folder: Path) -> dict[str, str]:
    try:
        data = json.loads((folder / FILE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return {str(k): str(v) for k, v in data.items()} if isinstance(data, dict) else {}


def _write(folder: Path, choices: Mapping[str, str]) -> None:
    """Keep the choices; a pack that cannot be written is timed again at every start."""
    try:
        folder.mkdir(exist_ok=True)
        (folder / FILE).write_text(json.dumps(choices, indent=1) + "\n", encoding="utf-8")
    except OSError as error:
        logger.info("calibration not kept: %s", error)


def has_exact_int8() -> bool:
    """Tell whether products of 8-bit activations and weights are summed without overflow here.

    x86 without VNNI adds pairs of them in 16 bits, which saturate. Where a system does not say
    what its processor has, the answer is no.
    """
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return True
    return "vnni" in _cpuinfo("flags")


def _processor() -> str:
    return _cpuinfo("model name") or platform.processor() or platform.machine()


def _cpuinfo(name: str) -> str:
    """Return what Linux says of the first processor, "" elsewhere."""
    info = Path("/proc/cpuinfo")
    if info.exists():
        for line in info.read_text(encoding="utf-8").splitlines():
            if line.startswith(name):
                return line.split(":", 1)[1].strip()
    return ""

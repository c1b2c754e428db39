"""The networks on this CPU, runtime against runtime, in one run.

Torch fp32 eager runs the same weights beside every other runtime, turn by turn, so the ratios hold
on a busy machine; CPU time of one thread is what is compared. The memory-bandwidth roof is a
matrix-vector product over 512 MB in the same run. Without --pack, a full-size pack of random
weights is made once and kept in --cache.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.environment import QuietWatch, Summary, write_json
from bench.random_pack import random_pack
from engine.backends.onnx_session import open_session
from engine.graph_weights import GraphWeights
from engine.manifest import ExportManifest
from engine.pack import Pack, Part, load_pack
from engine.types import Array, FloatArray

_PAST = 256
_FRAMES = 50  # one second of audio
_WARM_UP = 2
_ROOF_SHAPE = (16384, 8192)
Call = Callable[[], object]


@dataclass(frozen=True, slots=True)
class Row:
    """One runtime's figures."""

    name: str
    cpu_s: Summary
    wall_s: Summary
    times_torch: float  # best CPU time of torch / best CPU time of this
    roof_share: float | None = None  # of the bandwidth measured in the same run


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--pack", type=Path, help="an exported pack instead of a random one")
    parser.add_argument("--family", default="v2Pro", help="of the random pack")
    parser.add_argument("--cache", type=Path, default=Path("runs/bench"), help="for random packs")
    parser.add_argument("--repeats", type=int, default=20)
    parser.add_argument("--seconds", type=float, default=4.0, help="of speech per engine")
    parser.add_argument("--json", type=Path, help="write the figures here")


def run(args: argparse.Namespace) -> int:
    """Measure and print."""
    pack = load_pack(args.pack) if args.pack else random_pack(args.family, args.cache)
    watch = QuietWatch()
    roof = bandwidth(max(5, args.repeats // 2))
    step = rows(step_calls(pack), args.repeats, step_bytes(pack), roof)
    decoder = rows(decoder_calls(pack), max(3, args.repeats // 4))
    engines = {p: engine_figures(pack, p, args.seconds) for p in ("fp32", "int8")}
    result = {
        "pack": pack.name,
        "threads": 1,
        "roof_gb_s": roof / 1e9,
        "step_past_256": [asdict(row) for row in step],
        "decoder_1_s": [asdict(row) for row in decoder],
        "engines": engines,
        "others_share": watch.share(),
    }
    _print(result, step, decoder)
    if args.json:
        write_json(args.json, result)
    return 0


def bandwidth(repeats: int) -> float:
    """Return bytes per second that one thread reads in a matrix-vector product, at its best."""
    import torch

    torch.set_num_threads(1)
    matrix, vector = torch.ones(_ROOF_SHAPE), torch.ones(_ROOF_SHAPE[1])
    times = _time({"roof": lambda: torch.mv(matrix, vector)}, repeats)["roof"][0]
    return matrix.numel() * 4 / min(times)


def rows(
    calls: Mapping[str, Call],
    repeats: int,
    num_bytes: Mapping[str, int] | None = None,
    roof: float = 0.0,
) -> list[Row]:
    """Time calls turn by turn; the first is what the others are compared with."""
    times = _time(calls, repeats)
    base = min(next(iter(times.values()))[0])
    found = []
    for name, (cpu, wall) in times.items():
        share = num_bytes[name] / min(cpu) / roof if num_bytes else None
        found.append(Row(name, Summary.of(cpu), Summary.of(wall), base / min(cpu), share))
    return found


def _time(calls: Mapping[str, Call], repeats: int) -> dict[str, tuple[list[float], list[float]]]:
    """Return CPU and wall seconds of every call, round by round."""
    times: dict[str, tuple[list[float], list[float]]] = {name: ([], []) for name in calls}
    for number in range(_WARM_UP + repeats):
        for name, call in calls.items():
            wall, cpu = time.perf_counter(), time.process_time()
            call()
            cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
            if number >= _WARM_UP:
                times[name][0].append(cpu)
                times[name][1].append(wall)
    return times


def step_calls(pack: Pack) -> dict[str, Call]:
    """Return a step of one row over 256 positions in every runtime."""
    import torch

    from engine.backends.torch_weights import load_weights
    from engine.models.t2s import T2S

    sizes = pack.config.t2s
    network = T2S(sizes)
    load_weights(network, pack.tensors(Part.T2S), Part.T2S)
    network = network.eval().requires_grad_(False)
    shape = (1, sizes.num_heads, _PAST, sizes.hidden_dim // sizes.num_heads)
    rng = np.random.default_rng(1)
    cache = list(rng.standard_normal((2 * sizes.num_layers, *shape), np.float32))
    inputs: list[Array] = [
        np.array([3]), np.array([9]), np.zeros((1, _PAST), np.float32), *cache,
    ]  # fmt: skip
    tensors = [torch.from_numpy(array) for array in inputs]
    layers = sizes.num_layers

    def eager() -> object:
        with torch.inference_mode():
            token, position, mask, *past = tensors
            return network.step(token, position, mask, past[:layers], past[layers:])

    return {
        "torch fp32": eager,
        "onnxruntime fp32": _session_call(pack, "step", "fp32", inputs),
        "onnxruntime int8": _session_call(pack, "step", "int8", inputs),
    }


def step_bytes(pack: Pack) -> dict[str, int]:
    """Return the bytes a step must read: matrices, in their precision, and the past."""
    sizes = pack.config.t2s
    past = 2 * sizes.num_layers * _PAST * sizes.hidden_dim * 4
    matrices = sum(
        tensor.size
        for name, tensor in pack.tensors(Part.T2S).items()
        if name.startswith("layers.") and tensor.ndim == 2
    )
    head = sizes.vocab_size * sizes.hidden_dim * 4
    full = matrices * 4 + head + past
    return {
        "torch fp32": full,
        "onnxruntime fp32": full,
        "onnxruntime int8": matrices + matrices // 32 * 4 + head + past,
    }


def decoder_calls(pack: Pack) -> dict[str, Call]:
    """Return one second of audio in every runtime that is here."""
    import torch

    from engine.backends.torch_acoustic import TorchAcoustic
    from engine.backends.torch_weights import load_weights
    from engine.models.acoustic import AcousticNetwork

    network = AcousticNetwork(pack.config.acoustic)
    load_weights(network, pack.tensors(Part.ACOUSTIC), Part.ACOUSTIC)
    eager = TorchAcoustic(network)
    torch.set_num_threads(1)
    rng = np.random.default_rng(1)
    channels = eager.latent_dim + eager.source_rows
    latent: FloatArray = np.abs(rng.standard_normal((channels, _FRAMES), np.float32))
    style = rng.standard_normal(pack.config.acoustic.gin_dim, np.float32)
    inputs: list[Array] = [latent[None], style[None, :, None]]
    calls: dict[str, Call] = {
        "torch fp32": lambda: eager.decoder(latent, style),
        "onnxruntime fp32": _session_call(pack, "decoder", "fp32", inputs),
    }
    return calls | _openvino_calls(pack, inputs)


def _openvino_calls(pack: Pack, inputs: list[Array]) -> dict[str, Call]:
    try:
        import openvino

        from engine.backends.openvino_backend import compile_graph, has_bfloat16, whole_model
    except ImportError:
        return {}
    folder, record, weights = _graph(pack, "decoder", "fp32")
    blob = whole_model(folder / record.file, weights)
    core = openvino.Core()
    feed = dict(zip(record.inputs, inputs, strict=True))
    calls: dict[str, Call] = {}
    for name, half in (("openvino fp32", False), ("openvino bf16", True)):
        if not half or has_bfloat16(core):
            graph = compile_graph(core, blob, "decoder", threads=1, half=half)
            calls[name] = lambda graph=graph: graph.run(None, feed)  # type: ignore[misc]
    return calls


def _session_call(pack: Pack, graph: str, precision: str, inputs: list[Array]) -> Call:
    folder, record, weights = _graph(pack, graph, precision)
    session = open_session(folder / record.file, threads=1, initializers=weights)
    feed = dict(zip((value.name for value in session.get_inputs()), inputs, strict=True))
    return lambda: session.run(None, feed)


def _graph(pack: Pack, graph: str, precision: str) -> tuple[Path, Any, dict[str, Array]]:
    folder = pack.path / "onnx"
    manifest = ExportManifest.load(folder, pack_fingerprint=pack.fingerprint)
    record = manifest.record(graph, precision)
    return folder, record, GraphWeights(pack).load(record.weights)


def engine_figures(pack: Pack, precision: str, seconds: float) -> dict[str, float]:
    """Return what a process of its own gives: cold start, memory, first chunk, RTF."""
    command = [
        sys.executable, "-m", "bench.cpu_engine", str(pack.path.resolve()), "onnxruntime",
        precision, str(seconds),
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def _print(result: Mapping[str, Any], step: list[Row], decoder: list[Row]) -> None:
    print(
        f"{result['pack']}, 1 thread, roof {result['roof_gb_s']:.1f} GB/s, others used "
        f"{result['others_share']:.0%} of the machine\n"
    )
    for title, table in (("step, batch 1, past 256", step), ("decoder, 1 s of audio", decoder)):
        print(f"{title:<26}cpu ms min/median   wall ms median    x torch   of roof     n")
        for row in table:
            share = "" if row.roof_share is None else f"{row.roof_share:.0%}"
            print(
                f"  {row.name:<22}{row.cpu_s.min * 1e3:9.1f} /{row.cpu_s.median * 1e3:8.1f}"
                f"{row.wall_s.median * 1e3:16.1f}{row.times_torch:11.2f}{share:>10}"
                f"{row.cpu_s.n:6d}"
            )
    for precision, figures in result["engines"].items():
        print(f"engine {precision}: " + ", ".join(f"{k} {v:.3g}" for k, v in figures.items()))

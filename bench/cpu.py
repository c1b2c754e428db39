"""What this CPU does with a full-size pack and with nano: one table, its targets beside it.

    sovits-live bench cpu --json bench/results/cpu.json                  # all rows
    sovits-live bench cpu --rows step,decoder --json bench/results/cpu.json
    sovits-live bench cpu --rows nano,streams --json bench/results/cpu.json

A run replaces the rows it measured and keeps the others of the file, so a table can be made in
parts. Rows:

    step, decoder   networks of the full-size pack, runtime against runtime, turn by turn: torch
                    fp32 eager runs the same weights beside every other runtime, and CPU time of
                    one thread is compared, so ratios hold on a busy machine. The bandwidth roof is
                    a matrix-vector product over 512 MB in the same run.
    v2Pro, nano     a whole server through its socket: cold start, first packet, RTF, memory
    streams         listeners of nano at once that hear no gap (100 ms of buffer)

Without --pack, a full-size pack of random weights is made once (minutes) and kept in --cache.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench.cpu_server import (
    Memory,
    first_packets,
    memory_of,
    one_stream,
    one_stream_lines,
    real_time_streams,
    serving,
)
from bench.cpu_table import Figure, lines, merge
from bench.environment import QuietWatch, Summary
from bench.random_pack import ACOUSTIC, PROMPT_PHONEMES, PROMPT_TOKENS, random_pack
from engine.backends.onnx_session import open_session
from engine.errors import InvalidParameter, SovitsError
from engine.graph_weights import GraphWeights
from engine.manifest import ExportManifest
from engine.pack import Pack, Part, load_pack
from engine.paths import BUNDLED
from engine.text.frontend import Frontend
from engine.types import Array, FloatArray, Language

ROWS = ("step", "decoder", "v2Pro", "nano", "streams")
_PAST = 256
_FRAMES = 50  # one second of audio
_WARM_UP = 2
_ROOF_SHAPE = (16384, 8192)
_MOST_STREAMS = 16
# Random weights do not end by themselves: 4.4 s is what nineteen Chinese characters take.
_SENTENCE_TOKENS = 110
Call = Callable[[], object]
Figures = dict[str, Figure]


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
    add = parser.add_argument
    add("--rows", default=",".join(ROWS), help=f"of: {', '.join(ROWS)}")
    add("--pack", type=Path, help="an exported full-size pack instead of a random one")
    add("--family", default="v2Pro", help="of the random pack")
    add("--nano", type=Path, default=BUNDLED / "nano", help="the nano pack")
    add("--cache", type=Path, default=Path("runs/bench"), help="for random packs")
    add("--repeats", type=int, default=20)
    add("--set", action="append", default=[], metavar="KEY=VALUE", help="of the servers started")
    add("--port", type=int, default=18790, help="of the servers that are started")
    add("--json", type=Path, help="keep the figures here, with a plot beside them (.svg)")


def run(args: argparse.Namespace) -> int:
    """Measure and print; status 1 when something could not be measured."""
    wanted = args.rows.split(",")
    try:
        if unknown := set(wanted) - set(ROWS):
            raise InvalidParameter("rows", ",".join(sorted(unknown)), ", ".join(ROWS))
        watch = QuietWatch()
        figures: Figures = {}
        for row in wanted:
            figures |= _measure(row, args)
        result = merge(args.json, figures, watch.share())
    except SovitsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    print("\n".join(lines(result["figures"])))
    return 0


def _measure(row: str, args: argparse.Namespace) -> Figures:
    if row in ("nano", "streams"):
        measured = _nano if row == "nano" else _streams
        return asyncio.run(measured(args.nano, args.set, args))
    pack = load_pack(args.pack) if args.pack else random_pack(args.family, args.cache)
    if row == "v2Pro":
        return asyncio.run(_full_size(pack.path, args.set, args))
    return _step(pack, args.repeats) if row == "step" else _decoder(pack, args.repeats)


async def _nano(pack: Path, settings: list[str], args: argparse.Namespace) -> Figures:
    starts = []
    for _ in range(2):
        async with serving(pack, settings, args.port) as server:
            starts.append(server.start_s)
    async with serving(pack, settings, args.port) as server:
        starts.append(server.start_s)
        first = await first_packets(server, args.repeats)
        rtf = await one_stream(server, 10)
        memory = memory_of(server.pid)
    return _server_figures("nano", settings, Summary.of(starts), first, rtf, memory)


async def _full_size(pack: Path, settings: list[str], args: argparse.Namespace) -> Figures:
    async with serving(pack, settings, args.port) as server:
        first = await first_packets(server, max(5, args.repeats // 2))
        memory = memory_of(server.pid)
        start = Summary.of([server.start_s])
    ends = [] if args.pack else [f"engine.max_positions={_positions(args.family)}"]
    async with serving(pack, [*settings, *ends], args.port) as server:
        rtf = await one_stream(server, 5)
        used = memory_of(server.pid)
    memory = max(memory, used, key=lambda found: found.resident)
    return _server_figures("v2Pro", settings, start, first, rtf, memory)


def _positions(family: str) -> int:
    """Return what a slot must hold for sentences of `_SENTENCE_TOKENS` tokens, and no more."""
    frontend = Frontend(ACOUSTIC[family].symbol_set)
    longest = max(len(frontend.phonemize(line, Language.ZH)) for line in one_stream_lines(5))
    return PROMPT_PHONEMES + PROMPT_TOKENS + longest + _SENTENCE_TOKENS


async def _streams(pack: Path, settings: list[str], args: argparse.Namespace) -> Figures:
    async with serving(pack, settings, args.port) as server:
        found, gaps = await real_time_streams(server, _MOST_STREAMS)
    tried = ", ".join(f"{clients}: {count}" for clients, count in sorted(gaps.items()))
    note = f"gaps and errors by listeners: {tried}; the listeners ran on the same cores"
    note = " ".join((note, *settings))
    return {"nano-streams": Figure(found, found, len(gaps), note)}


def _server_figures(
    name: str, settings: list[str], start: Summary, first: Summary, rtf: Summary, memory: Memory
) -> Figures:
    note = " ".join(settings)
    size = f"sum over all processes; {memory.proportional:.0f} MB with shared pages counted once"
    return {
        f"{name}-first": Figure(1e3 * first.median, 1e3 * first.min, first.n, note),
        f"{name}-rtf": Figure(rtf.median, rtf.min, rtf.n, note),
        f"{name}-memory": Figure(memory.resident, memory.resident, 1, f"{size} {note}".strip()),
        f"{name}-start": Figure(start.median, start.min, start.n, note),
    }


def _step(pack: Pack, repeats: int) -> Figures:
    roof = bandwidth(max(5, repeats // 2))
    figures: Figures = {}
    for row in rows(step_calls(pack), repeats, step_bytes(pack), roof):
        runtime, _, precision = row.name.partition(" ")
        if runtime == "onnxruntime" and row.roof_share is not None:
            figures[f"step-{precision}"] = Figure(row.times_torch, row.times_torch, repeats,
                                                  _times(row))  # fmt: skip
            share = 100 * row.roof_share
            note = f"roof {roof / 1e9:.1f} GB/s"
            figures[f"roof-{precision}"] = Figure(share, share, repeats, note)
    return figures


def _decoder(pack: Pack, repeats: int) -> Figures:
    count = max(3, repeats // 4)
    best: dict[str, Row] = {}
    for row in rows(decoder_calls(pack), count):
        runtime, _, precision = row.name.partition(" ")
        before = best.get(precision)
        if runtime != "torch" and (before is None or row.times_torch > before.times_torch):
            best[precision] = row
    return {
        f"decoder-{precision}": Figure(row.times_torch, row.times_torch, count, _times(row))
        for precision, row in best.items()
    }


def _times(row: Row) -> str:
    low, middle, wall = row.cpu_s.min, row.cpu_s.median, row.wall_s.median
    return f"{row.name}: {1e3 * low:.1f} / {1e3 * middle:.1f} ms CPU, {1e3 * wall:.1f} ms wall"


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
    _, record, _ = _graph(pack, "step", "int8")
    scales = [recipe for recipe in record.weights.values() if recipe.startswith("scales ")]
    block = int(scales[0].split(" ")[3])
    return {
        "torch fp32": full,
        "onnxruntime fp32": full,
        "onnxruntime int8": matrices + matrices // block * 4 + head + past,
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
    record = _graph(pack, "decoder", "fp32")[1]
    none = latent[None, :, :0]
    named = {"flowed": latent[None], "style": style[None, :, None], "before": none, "after": none}
    inputs = [named[name] for name in record.inputs]
    calls: dict[str, Call] = {
        "torch fp32": lambda: eager.decoder(latent, style),
        "onnxruntime fp32": _session_call(pack, "decoder", "fp32", inputs),
    }
    return calls | _openvino_calls(pack, inputs)


def _openvino_calls(pack: Pack, inputs: list[Array]) -> dict[str, Call]:
    try:
        from engine.backends.openvino_backend import compile_graph, has_bfloat16, whole_model
    except ImportError:
        return {}
    folder, record, weights = _graph(pack, "decoder", "fp32")
    blob = whole_model(folder / record.file, weights)
    feed = dict(zip(record.inputs, inputs, strict=True))
    calls: dict[str, Call] = {}
    for name, half in (("openvino fp32", False), ("openvino bf16", True)):
        if not half or has_bfloat16():
            graph = compile_graph(blob, "decoder", threads=1, half=half)
            calls[name] = lambda graph=graph: graph.run(None, feed)  # type: ignore[misc]
    return calls


def _session_call(pack: Pack, graph: str, precision: str, inputs: list[Array]) -> Call:
    folder, record, weights = _graph(pack, graph, precision)
    session = open_session(folder / record.file, threads=1, initializers=weights)
    feed = dict(zip((value.name for value in session.get_inputs()), inputs, strict=True))
    return lambda: session.run(None, feed)


def _graph(pack: Pack, graph: str, precision: str) -> tuple[Path, Any, dict[str, Array]]:
    folder = pack.graphs_dir
    manifest = ExportManifest.load(folder, pack_fingerprint=pack.fingerprint)
    record = manifest.record(graph, precision)
    return folder, record, GraphWeights(pack).load(record.weights)

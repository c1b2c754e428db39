"""Would the vocoder gain from speaking several sessions in one call? Measured, not assumed.

The flow and decoder graphs of a pack are opened once as they are, of batch one, and once with a
free batch. For each number of sessions: the CPU time of that many calls of one against one call of
all, best of the repeats, and whether each row's samples keep their bits. CPU time, because it is
what sessions share, and hardly notices what else the machine does.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime as ort

from bench.environment import QuietWatch, write_json
from bench.random_pack import random_pack
from engine.backends.onnx_backend import graph_opener
from engine.backends.onnx_session import run as run_graph
from engine.backends.onnx_session import session_options
from engine.graph_weights import GraphWeights
from engine.manifest import ExportManifest, check_file
from engine.pack import Pack, load_pack
from engine.types import Array

GRAPHS = {"flow": "latent", "decoder": "flowed"}  # name -> its first input
SESSIONS = (2, 4, 8)
FRAMES = (32, 122)  # of a chunk of 5 and of 50 tokens, with the decoder's halo on both sides


@dataclass(frozen=True, slots=True)
class BatchRow:
    """One graph at one size; CPU seconds of one round of all sessions."""

    graph: str
    frames: int
    sessions: int
    threads: int
    serial_s: float
    batched_s: float
    gain: float
    same_bits: bool
    max_difference: float  # of full scale


def free_batch(model: Any) -> bytes:
    """Return a graph whose first axis was 1 with that axis free."""
    for value in model.graph.input:
        value.type.tensor_type.shape.dim[0].dim_param = "batch"
    for value in model.graph.output:
        value.type.tensor_type.ClearField("shape")
    del model.graph.value_info[:]
    reshapes = [node for node in model.graph.node if node.op_type == "Reshape"]
    for node in reshapes:
        del node.attribute[:]  # a 0 in the shape then means: as the input has it
    shapes = {node.input[1] for node in reshapes}
    for tensor in model.graph.initializer:
        if tensor.name in shapes:
            shape = onnx.numpy_helper.to_array(tensor).copy()
            if shape[0] == 1 and 0 not in shape:
                shape[0] = 0
            tensor.CopyFrom(onnx.numpy_helper.from_array(shape, tensor.name))
    blob: bytes = model.SerializeToString()
    return blob


def measure(
    pack: Pack, *, frame_counts: Sequence[int], threads: int, repeats: int
) -> list[BatchRow]:
    """Measure both graphs at all sizes."""
    folder = pack.graphs_dir
    manifest = ExportManifest.load(folder, pack_fingerprint=pack.fingerprint)
    open_graph, weights = graph_opener(pack, manifest), GraphWeights(pack)
    rows = []
    for graph, name in GRAPHS.items():
        record = manifest.record(graph, "fp32")
        model = onnx.load(check_file(folder, record), load_external_data=False)
        shapes = {value.name: value.type.tensor_type.shape for value in model.graph.input}
        width = shapes[name].dim[1].dim_value
        options = session_options(threads)
        arrays = weights.load(record.weights)
        options.add_external_initializers(
            list(arrays), [ort.OrtValue.ortvalue_from_numpy(array) for array in arrays.values()]
        )
        batched = ort.InferenceSession(free_batch(model), options)
        single = open_graph(graph, threads)
        for frames in frame_counts:
            for sessions in SESSIONS:
                inputs = _inputs(pack, name, width, frames, sessions)
                # No context: what is compared is the same with it.
                none = inputs[name][:, :, :0]
                inputs |= {side: none for side in ("before", "after") if side in shapes}
                rows.append(_compare(graph, (single, batched), inputs, threads, repeats))
    return rows


def _inputs(pack: Pack, name: str, width: int, frames: int, sessions: int) -> dict[str, Array]:
    rng = np.random.default_rng(sessions)
    latent = rng.standard_normal((sessions, width, frames)).astype(np.float32)
    if width > pack.config.acoustic.latent_dim:  # a voice of 150 Hz, see engine.latent_stream
        latent[:, -3], latent[:, -2] = 3.0, rng.random((sessions, frames))
        latent[:, -1] = np.arange(frames)
    style = rng.standard_normal((sessions, pack.config.acoustic.gin_dim, 1)).astype(np.float32)
    return {name: latent, "style": style}


def _compare(
    graph: str,
    opened: tuple[ort.InferenceSession, ort.InferenceSession],
    inputs: dict[str, Array],
    threads: int,
    repeats: int,
) -> BatchRow:
    sessions, _, frames = next(iter(inputs.values())).shape
    single, batched = opened

    def serial() -> list[Array]:
        each = [{n: a[k : k + 1] for n, a in inputs.items()} for k in range(sessions)]
        return [run_graph(single, one)[0] for one in each]

    serial_s, alone = _best(serial, repeats)
    batched_s, together = _best(lambda: run_graph(batched, inputs), repeats)
    difference = np.concatenate(alone) - together[0]
    return BatchRow(
        graph=graph,
        frames=frames,
        sessions=sessions,
        threads=threads,
        serial_s=serial_s,
        batched_s=batched_s,
        gain=serial_s / batched_s,
        same_bits=not difference.any(),
        max_difference=float(np.abs(difference).max()),
    )


def _best(call: Any, repeats: int) -> tuple[float, Any]:
    result = call()
    times = []
    for _ in range(repeats):
        started = time.process_time()
        result = call()
        times.append(time.process_time() - started)
    return min(times), result


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare the options."""
    parser.add_argument("--pack", type=Path, help="an exported pack instead of a random one")
    parser.add_argument("--family", default="v2Pro", help="of the random pack")
    parser.add_argument("--cache", type=Path, default=Path("runs/bench"), help="for random packs")
    parser.add_argument("--frames", type=int, nargs="+", default=list(FRAMES))
    parser.add_argument("--threads", type=int, nargs="+", default=[1])
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--json", type=Path, help="write the figures here")


def run(args: argparse.Namespace) -> int:
    """Measure and print a table."""
    pack = load_pack(args.pack) if args.pack else random_pack(args.family, args.cache)
    watch = QuietWatch()
    rows = [
        row
        for threads in args.threads
        for row in measure(pack, frame_counts=args.frames, threads=threads, repeats=args.repeats)
    ]
    _print(pack.name, rows, watch.share())
    if args.json:
        result = {"pack": pack.name, "rows": [asdict(row) for row in rows]}
        write_json(args.json, result | {"others_share": watch.share()})
    return 0


def _print(name: str, rows: Sequence[BatchRow], others: float) -> None:
    print(f"{name}, onnxruntime, others used {others:.0%} of the machine\n")
    print("graph    frames  sessions  threads  serial ms  batched ms  gain  same bits")
    for row in rows:
        print(
            f"{row.graph:8s} {row.frames:6d}  {row.sessions:8d}  {row.threads:7d}  "
            f"{row.serial_s * 1e3:9.1f}  {row.batched_s * 1e3:10.1f}  {row.gain:4.2f}  "
            f"{row.same_bits} ({row.max_difference:.1e})"
        )

"""What an exported graph says of itself, checked before it is used.

`onnx/manifest.json` of a pack has one entry per graph file. A graph of another pack, of another
exporter format or with a changed file is refused, never run.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Self

from engine.errors import CheckpointError

FORMAT = 2  # of the graphs' inputs, outputs and weights; raised whenever one changes
MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class GraphRecord:
    """One exported graph."""

    graph: str  # prefill, step, text, prior, flow, decoder, style, speaker, reference, bert
    precision: str  # fp32, int8, fp16
    file: str
    sha256: str
    num_bytes: int
    opset: int
    inputs: Mapping[str, str]  # name -> "float32[1,D,F]"
    outputs: Mapping[str, str]
    weights: Mapping[str, str]  # initializer -> how it is made of the pack, see `graph_weights`
    error: float  # largest |onnx - torch| / max |torch| over the outputs, on the export's check


@dataclass(frozen=True, slots=True)
class ExportManifest:
    """All graphs of a pack, made by one export."""

    format: int
    pack_fingerprint: str
    tools: Mapping[str, str]  # package -> version
    numbers: Mapping[str, int]  # of the networks: flow_halo, decoder_halo, source_rows
    graphs: tuple[GraphRecord, ...]

    def record(self, graph: str, precision: str) -> GraphRecord:
        """Return one graph's record.

        Raises:
            CheckpointError: If it was not exported.
        """
        for record in self.graphs:
            if (record.graph, record.precision) == (graph, precision):
                return record
        known = ", ".join(sorted(f"{r.graph}-{r.precision}" for r in self.graphs))
        raise CheckpointError(f"graph {graph} was not exported in {precision}; there are: {known}")

    def precisions(self, graph: str) -> tuple[str, ...]:
        """Return the precisions a graph exists in."""
        return tuple(record.precision for record in self.graphs if record.graph == graph)

    def save(self, folder: Path) -> None:
        """Write `manifest.json` into `folder`."""
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")

    @classmethod
    def load(cls, folder: Path, *, pack_fingerprint: str) -> Self:
        """Read and check a manifest.

        Raises:
            CheckpointError: Missing, damaged, of another format or of another pack.
        """
        path = folder / MANIFEST
        try:
            data = json.loads(path.read_text(encoding="utf-8"))
            graphs = tuple(GraphRecord(**record) for record in data.pop("graphs"))
            manifest = cls(graphs=graphs, **data)
        except FileNotFoundError:
            raise CheckpointError(
                f"{folder.parent.name} has no exported graphs; make them with: sovits-live export "
                f"{folder.parent}"
            ) from None
        except (ValueError, TypeError, KeyError) as error:
            raise CheckpointError(f"{path} is damaged: {error}") from None
        if manifest.format != FORMAT:
            raise CheckpointError(
                f"{path} has format {manifest.format}, this version reads {FORMAT}; export again"
            )
        if manifest.pack_fingerprint != pack_fingerprint:
            raise CheckpointError(
                f"{path} belongs to another pack ({manifest.pack_fingerprint[:12]}, this one is "
                f"{pack_fingerprint[:12]}); export again"
            )
        return manifest


def check_file(folder: Path, record: GraphRecord) -> Path:
    """Return the path of a graph after comparing its size and hash with its record.

    Raises:
        CheckpointError: Missing or changed.
    """
    path = folder / record.file
    if not path.is_file():
        raise CheckpointError(f"{path} is missing; export again")
    if path.stat().st_size != record.num_bytes or hash_file(path) != record.sha256:
        raise CheckpointError(f"{path} was changed after its export; export again")
    return path


def hash_file(path: Path) -> str:
    """Return the sha256 of a file, hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def describe_tensors(names: Mapping[str, Any]) -> dict[str, str]:
    """Return name -> "dtype[shape]" of tensors or arrays."""
    return {
        name: f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"
        for name, value in names.items()
    }

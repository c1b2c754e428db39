"""A pack served from its graphs: what is refused, and a process that cannot import torch."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest

from engine.backends import onnx_backend
from engine.backends.onnx_backend import OnnxBackend
from engine.backends.onnx_session import open_session
from engine.backends.registry import create_backend
from engine.backends.torch_backend import TorchBackend
from engine.config import EngineConfig
from engine.errors import CheckpointError
from engine.pack import Pack
from tests.micro_pack import bare_pack, micro_pack
from tests.speechlike import speechlike

CONFIG = EngineConfig(num_slots=1)
_WITHOUT_TORCH = """
import asyncio, sys
from importlib.abc import MetaPathFinder

class Nothing(MetaPathFinder):
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {"torch", "transformers", "onnx", "onnx_ir", "onnxscript"}:
            raise ImportError(f"{name} is not installed")

sys.meta_path.insert(0, Nothing())
from pathlib import Path
from engine.config import EngineConfig
from engine.text.frontend import Frontend
from engine.thread_engine import ThreadEngine
from engine.types import Language, SentenceJob, StreamMode, SynthesisParams

async def main():
    pack = Path(sys.argv[1])
    engine = ThreadEngine(EngineConfig(backend="onnxruntime", pack=pack, num_slots=2))
    await engine.start()
    phonemes = Frontend(engine.info.symbol_set).phonemize("Good morning.", Language.EN)
    params = SynthesisParams(seed=3, mode=StreamMode.EXACT)
    async with engine.synthesize(SentenceJob(1, "u", 0, phonemes, "anna", params=params)) as chunks:
        parts = [chunk async for chunk in chunks]
    tokens, samples = sum(p.num_tokens for p in parts), sum(len(p.samples) for p in parts)
    peak = max(float(abs(p.samples).max(initial=0)) for p in parts)
    print(engine.info.backend["backend"], tokens, samples, peak)
    await engine.close()
    assert "torch" not in sys.modules

asyncio.run(main())
"""


def test_a_process_without_torch_speaks(micro: Pack) -> None:
    """With torch, transformers and onnx not to be had, a sentence comes out whole."""
    root = Path(__file__).parents[3]
    done = subprocess.run(
        [sys.executable, "-c", _WITHOUT_TORCH, str(micro.path)],
        capture_output=True,
        text=True,
        cwd=root,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    backend, tokens, samples, peak = done.stdout.split()[-4:]
    assert backend == "onnxruntime"
    assert int(tokens) > 0 and int(samples) == int(tokens) * 960 and float(peak) > 1e-3


@pytest.mark.parametrize(("is_exact", "prefill"), [(True, "int8"), (False, "fp32")])
def test_it_says_what_it_runs_on(
    micro: Pack, monkeypatch: pytest.MonkeyPatch, is_exact: bool, prefill: str
) -> None:
    """Runtime, provider and each graph's precision: 8 bits only where they cannot overflow."""
    monkeypatch.setattr(onnx_backend, "has_exact_int8", lambda: is_exact)
    backend = create_backend("onnxruntime", micro, EngineConfig(num_slots=1, precision="int8"))
    said = backend.describe()
    assert said["provider"] == "CPUExecutionProvider" and said["device"] == "cpu"
    assert said["precision"] == f"prefill {prefill}, step int8"
    assert backend.notice == "random weights, no speech"


def test_threads_go_where_there_are_many_rows(micro: Pack, monkeypatch: pytest.MonkeyPatch) -> None:
    """Prefill and the acoustic stage have them; a step reads weights, which one can."""
    asked: dict[str, int] = {}

    def recording(path: Path, *, threads: int, **rest: Any) -> ort.InferenceSession:
        asked[path.stem] = threads
        return open_session(path, threads=threads, **rest)

    monkeypatch.setattr(onnx_backend, "open_session", recording)
    OnnxBackend(micro, EngineConfig(num_slots=1, prefill_threads=3, acoustic_threads=2))
    assert asked == {"prefill": 3, "step": 1, "text": 2, "prior": 2, "flow": 2, "decoder": 2}


def test_enrolment_gives_torch_s_numbers(micro: Pack) -> None:
    """Tokens are equal; speaker embedding and style vector agree to rounding."""
    ours = OnnxBackend(micro, CONFIG).reference
    theirs = TorchBackend(micro, CONFIG).reference
    wave = speechlike(2.0, 16000)
    np.testing.assert_array_equal(ours.semantic_tokens(wave), theirs.semantic_tokens(wave))
    speaker, expected = ours.speaker_embedding(wave), theirs.speaker_embedding(wave)
    assert speaker is not None and expected is not None
    np.testing.assert_allclose(speaker, expected, atol=1e-5)
    wide = speechlike(2.0, 24000)
    np.testing.assert_allclose(
        ours.style_vector(wide, speaker), theirs.style_vector(wide, speaker), atol=1e-4
    )
    assert ours.bert("你好") is None


def test_a_pack_without_graphs_is_refused(tmp_path: Path) -> None:
    """With the command that makes them."""
    with pytest.raises(CheckpointError, match="micro has no exported graphs.*sovits-live export"):
        OnnxBackend(bare_pack(tmp_path), CONFIG)


def test_graphs_of_another_pack_are_refused(tmp_path: Path) -> None:
    """Copied from a pack of other weights."""
    pack = micro_pack(tmp_path)
    path = pack.path / "onnx" / "manifest.json"
    path.write_text(path.read_text().replace(pack.fingerprint, "0" * 64))
    with pytest.raises(CheckpointError, match="belongs to another pack"):
        OnnxBackend(pack, CONFIG)


def test_a_changed_graph_is_refused(tmp_path: Path) -> None:
    """Even when its size is right."""
    pack = micro_pack(tmp_path)
    path = pack.path / "onnx" / "flow.onnx"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match="flow.onnx was changed after its export"):
        OnnxBackend(pack, CONFIG)


def test_a_manifest_of_other_weights_is_refused(tmp_path: Path) -> None:
    """A recipe that names a tensor the pack has not."""
    pack = micro_pack(tmp_path)
    path = pack.path / "onnx" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["graphs"][0]["weights"] = {"t2s.head.weight": "copy t2s tail.weight"}
    path.write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="no tensor 'tail.weight'"):
        OnnxBackend(pack, CONFIG)

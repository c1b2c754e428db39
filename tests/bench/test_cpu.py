"""The CPU bench: what it divides by what, and that every runtime computes the same."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from bench.cpu import decoder_calls, rows, step_bytes, step_calls
from engine.config import EngineConfig
from engine.pack import Pack
from tests.micro_pack import CONFIG, micro_pack


def pack_in(folder: Path) -> Pack:
    return micro_pack(folder)


def test_every_runtime_computes_the_same(tmp_path: Path) -> None:
    """Else a ratio of times says nothing."""
    pack = pack_in(tmp_path)
    steps = {name: call() for name, call in step_calls(pack).items()}
    expected = np.asarray(steps["torch fp32"][0])  # type: ignore[index]
    for name, tolerance in (("onnxruntime fp32", 1e-4), ("onnxruntime int8", 0.2)):
        found = steps[name][0]  # type: ignore[index]
        np.testing.assert_allclose(found, expected, atol=tolerance, err_msg=name)
    waves = {name: np.asarray(call()).ravel() for name, call in decoder_calls(pack).items()}
    assert {len(wave) for wave in waves.values()} == {50 * 480}
    np.testing.assert_allclose(waves["onnxruntime fp32"], waves["torch fp32"], atol=1e-4)


def test_ratios_are_of_the_best_times(tmp_path: Path) -> None:
    """The first call is the one compared with; the roof is bytes over time over bandwidth."""
    found = rows({"a": lambda: sum(range(200_000)), "b": lambda: sum(range(2_000))}, 5,
                 {"a": 1000, "b": 1000}, roof=1e6)  # fmt: skip
    assert [row.name for row in found] == ["a", "b"] and found[0].times_torch == 1.0
    assert found[1].times_torch > 5 and found[0].cpu_s.n == 5
    assert found[0].roof_share == 1000 / found[0].cpu_s.min / 1e6


def test_a_step_reads_its_matrices_once(tmp_path: Path) -> None:
    """Matrices, head and past; 8 bits and a scale per 32 weights in int8."""
    sizes = CONFIG.t2s
    hidden, ffn = sizes.hidden_dim, sizes.ffn_dim
    matrices = sizes.num_layers * (4 * hidden * hidden + 2 * hidden * ffn)
    rest = sizes.vocab_size * hidden * 4 + 2 * sizes.num_layers * 256 * hidden * 4
    found = step_bytes(pack_in(tmp_path))
    assert found["torch fp32"] == 4 * matrices + rest
    assert found["onnxruntime int8"] == matrices * 9 // 8 + rest


async def test_an_engine_is_measured_by_speaking(tmp_path: Path) -> None:
    """Audio of at least the length asked for; figures that are not zero."""
    from bench.cpu_engine import measure

    pack = pack_in(tmp_path)
    figures = await measure(EngineConfig(pack=pack.path, num_slots=1, max_positions=500), 0.5)
    assert figures.audio_s >= 0.3 and figures.resident_mb > 30 and figures.rtf_cpu > 0
    assert figures.start_s > 0 and figures.first_chunk_wall_s > 0

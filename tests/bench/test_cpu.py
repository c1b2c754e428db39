"""The CPU bench: what it divides by what, and that every runtime computes the same."""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pytest

from bench.cpu import add_arguments, decoder_calls, rows, run, step_bytes, step_calls
from bench.cpu_server import first_packets, memory_of, one_stream, serving
from bench.cpu_table import Figure, lines, merge
from engine.errors import EngineFailed
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
    """Matrices, head and past; 8 bits and a scale per block of weights in int8."""
    sizes = CONFIG.t2s
    hidden, ffn = sizes.hidden_dim, sizes.ffn_dim
    matrices = sizes.num_layers * (4 * hidden * hidden + 2 * hidden * ffn)
    rest = sizes.vocab_size * hidden * 4 + 2 * sizes.num_layers * 256 * hidden * 4
    found = step_bytes(pack_in(tmp_path))
    assert found["torch fp32"] == 4 * matrices + rest
    assert found["onnxruntime int8"] == matrices + matrices // 64 * 4 + rest


@pytest.mark.slow
async def test_a_server_is_measured_through_its_socket(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    """A whole server starts, is heard, is weighed and ends."""
    pack = pack_in(tmp_path)
    async with serving(pack.path, ["engine.process=false"], unused_tcp_port) as server:
        first = await first_packets(server, 2)
        rtf = await one_stream(server, 1)
        memory = memory_of(server.pid)
    assert server.start_s > 0 and first.n == 2 and 0 < first.min <= first.median
    assert rtf.n == 1 and rtf.min > 0
    assert memory.resident > 50 and 0 < memory.proportional <= memory.resident
    with pytest.raises(ProcessLookupError):
        os.kill(server.pid, 0)


async def test_a_server_that_does_not_start_is_an_error(
    tmp_path: Path, unused_tcp_port: int
) -> None:
    """It says how to see why."""
    with pytest.raises(EngineFailed, match=r"server\.cli serve"):
        async with serving(tmp_path, [], unused_tcp_port):
            pass


def test_a_table_is_made_in_parts(tmp_path: Path) -> None:
    """A run replaces its own rows and keeps the others, each with its own run."""
    path = tmp_path / "cpu.json"
    merge(path, {"nano-first": Figure(100.0, 90.0, 20), "nano-streams": Figure(9, 9, 4)}, 0.1)
    result = merge(path, {"nano-first": Figure(70.0, 60.0, 20)}, 0.2)
    assert result["figures"] == json.loads(path.read_text())["figures"]
    assert list(result["figures"]) == ["nano-first", "nano-streams"]
    assert result["figures"]["nano-first"]["value"] == 70.0
    shares = [figure["run"]["others_share"] for figure in result["figures"].values()]
    assert shares == [0.2, 0.1]
    assert path.with_suffix(".svg").read_text().startswith("<svg")


def test_the_table_says_what_is_met() -> None:
    """Small is good for times, large for ratios."""
    figures = {"nano-first": Figure(100.0, 90.0, 20), "step-int8": Figure(5.0, 5.0, 20, "why")}
    head, first, step = lines({name: asdict(figure) for name, figure in figures.items()})
    assert head.split() == ["value", "unit", "best", "n", "target"]
    assert "<= 80" in first and first.endswith("missed")
    assert ">= 4" in step and step.endswith("met  why")


def test_unknown_rows_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    """By name, before anything is started."""
    parser = argparse.ArgumentParser()
    add_arguments(parser)
    assert run(parser.parse_args(["--rows", "step,stairs"])) == 1
    assert "stairs" in capsys.readouterr().err

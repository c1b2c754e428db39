"""Token agreement of the quantised T2S with the full one."""

from __future__ import annotations

from pathlib import Path

import pytest

from engine.errors import CheckpointError
from export.verify import token_agreement
from tests.micro_pack import micro_pack


def test_a_variant_agrees_with_itself_and_less_with_another(tmp_path: Path) -> None:
    """fp32 against fp32 is all the same; 8 bits change a choice where two are close."""
    pack = micro_pack(tmp_path)
    same = token_agreement(pack, "fp32", sentences=1, steps=20)
    assert (same.steps, same.same_choice, same.in_five_best) == (20, 1.0, 1.0)
    quantised = token_agreement(pack, "int8", sentences=2, steps=40)
    assert 0.9 <= quantised.same_choice <= quantised.in_five_best
    with pytest.raises(CheckpointError, match="not exported in int4"):
        token_agreement(pack, "int4")

"""Reading the frozen encoders."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest

from engine.errors import CheckpointError
from engine.train.encoders import read_ctranslate2


def _name(text: str) -> bytes:
    return struct.pack("<H", len(text) + 1) + text.encode() + b"\0"


def test_variables_are_read_with_shape_and_type(tmp_path: Path) -> None:
    """One float16 matrix and one int8 vector come back as they were written."""
    matrix, vector = np.arange(6, dtype=np.float16).reshape(2, 3), np.array([-1, 2], np.int8)
    data = struct.pack("<I", 6) + _name("WhisperSpec") + struct.pack("<II", 3, 2)
    for name, array, code in (("a/b", matrix, 4), ("c", vector, 1)):
        data += _name(name) + struct.pack("<B", array.ndim)
        data += struct.pack(f"<{array.ndim}I", *array.shape)
        data += struct.pack("<BI", code, array.nbytes) + array.tobytes()
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    found = read_ctranslate2(path)
    assert np.array_equal(found["a/b"], matrix) and found["a/b"].dtype == np.float16
    assert np.array_equal(found["c"], vector)


@pytest.mark.parametrize("data", [b"", b"\x06\0\0\0", b"not a model at all, but long enough"])
def test_other_files_are_refused(tmp_path: Path, data: bytes) -> None:
    """Whatever it is, the error names the file."""
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    with pytest.raises(CheckpointError, match=r"model\.bin"):
        read_ctranslate2(path)

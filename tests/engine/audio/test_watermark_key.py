"""Key files: made once, for their owner, and refused with a sentence that helps."""

from __future__ import annotations

import stat
from pathlib import Path

import numpy as np
import pytest

from engine.audio.watermark_key import WatermarkKey
from engine.errors import WatermarkError


def test_a_written_key_is_read_again(tmp_path: Path) -> None:
    """Only its owner may read it; it is the same key; two are never the same."""
    path = tmp_path / "key"
    key = WatermarkKey.generate()
    key.write(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    np.testing.assert_array_equal(WatermarkKey.read(path).phases(10), key.phases(10))
    assert (WatermarkKey.generate().phases(10) != key.phases(10)).all()


def test_phases_are_uniform_and_do_not_depend_on_how_many() -> None:
    """In [0, 2 pi), the first ones the same."""
    phases = WatermarkKey(bytes(32)).phases(7601)
    assert phases.min() >= 0 and phases.max() < 2 * np.pi
    assert abs(np.exp(1j * phases).mean()) < 0.05
    np.testing.assert_array_equal(WatermarkKey(bytes(32)).phases(5), phases[:5])


def test_no_file_is_overwritten(tmp_path: Path) -> None:
    """A key that marked something must not get lost."""
    path = tmp_path / "key"
    path.write_text("precious")
    with pytest.raises(WatermarkError, match="is there already and stays"):
        WatermarkKey.generate().write(path)
    assert path.read_text() == "precious"
    with pytest.raises(WatermarkError, match="cannot be written: No such file"):
        WatermarkKey.generate().write(tmp_path / "none" / "key")


@pytest.mark.parametrize(
    "text",
    ["", "# a comment\n", "hunter2", "ab" * 31, "ab" * 33, "ab" * 32 + "\n" + "cd" * 32, "é"],
)
def test_what_is_no_key_is_refused_and_not_quoted(tmp_path: Path, text: str) -> None:
    """The message names the file and what is valid."""
    path = tmp_path / "key"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(WatermarkError, match="is not a watermark key") as caught:
        WatermarkKey.read(path)
    assert "hunter2" not in str(caught.value) and caught.value.code == "bad_watermark_key"


def test_a_missing_file_says_how_to_make_one(tmp_path: Path) -> None:
    """With the command."""
    with pytest.raises(WatermarkError, match="No such file.*sovits-live watermark new-key FILE"):
        WatermarkKey.read(tmp_path / "none")
    with pytest.raises(WatermarkError, match="32 bytes, not 3"):
        WatermarkKey(b"abc")

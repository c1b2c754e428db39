"""Units of measurement."""

from __future__ import annotations

import pytest

from engine.text.zh.units import spoken_unit


@pytest.mark.parametrize(
    ("unit", "word"),
    [
        ("km", "千米"),
        ("km/h", "公里每小时"),
        ("m²", "平方米"),
        ("mg/L", "毫克每升"),
        ("µm", "微米"),
        ("mAh", "毫安时"),
        ("ft", "英尺"),
        ("kbps", "千比特每秒"),  # by wetext
    ],
)
def test_units_have_words(unit: str, word: str) -> None:
    """Known units, combinations of them and wetext's long tail."""
    assert spoken_unit(unit) == word


@pytest.mark.parametrize("unit", ["G", "K", "GB", "Mbps", "Pro", "D", "xyz", "km/xyz", "/h"])
def test_letters_that_are_no_unit_stay(unit: str) -> None:
    """5G, 64GB and 15 Pro are spelled, not measured."""
    assert spoken_unit(unit) is None

"""Traditional characters."""

from __future__ import annotations

import pytest

from engine.text.mapped import MappedText
from engine.text.zh.simplify import simplified


@pytest.mark.parametrize(
    ("traditional", "simple"),
    [
        ("這個計劃裡面有問題", "这个计划里面有问题"),
        ("頭髮與發展，皇后在後面", "头发与发展，皇后在后面"),
        ("他看著這本名著", "他看着这本名著"),
        ("乾杯！乾隆皇帝說", "干杯！乾隆皇帝说"),
        ("怎麼瞭解臺灣", "怎么了解台湾"),
    ],
)
def test_traditional_text(traditional: str, simple: str) -> None:
    """Character by character; where both scripts share one, by its neighbours."""
    assert simplified(MappedText.of(traditional)).text == simple


def test_simplified_text_is_left_alone() -> None:
    """榜 and 著 belong to both scripts: upstream turns 榜样 into 搒样."""
    text = MappedText.of("榜样，著名，乾坤，折叠，瞭望")
    assert simplified(text) is text

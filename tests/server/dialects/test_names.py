"""Other services' words for languages and speeds."""

from __future__ import annotations

import pytest

from server.dialects.names import clamp_speed, language


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("zh", "zh"),
        ("zh-CN", "zh"),
        ("zh_TW", "zh"),
        ("all_zh", "zh"),
        ("cmn-Hans-CN", "zh"),
        ("en-US", "en"),
        ("all_ja", "ja"),
        ("zh-HK", "yue"),
        ("all_yue", "yue"),
        ("auto", "auto"),
        ("auto_yue", "yue"),
        ("all_ko", "ko"),
        ("ko-KR", "ko"),
        ("ja-JP", "ja"),
        ("yue-Hant-HK", "yue"),
        ("tlh", "auto"),
    ],
)
def test_languages(name: str, expected: str) -> None:
    """BCP 47, upstream's and DashScope's; what is none of ours is found in the text."""
    assert language(name, "en") == expected


def test_no_language_is_the_default() -> None:
    """Nothing given changes nothing."""
    assert language(None, "en") == language("", "en") == "en"


@pytest.mark.parametrize(("speed", "expected"), [(0.25, 0.5), (1.3, 1.3), (4, 2.0)])
def test_speeds_are_taken_to_what_can_be_spoken(speed: float, expected: float) -> None:
    """OpenAI's go from 0.25 to 4."""
    assert clamp_speed(speed) == expected

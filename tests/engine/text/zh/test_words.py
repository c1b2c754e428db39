"""Word lists and segmentation."""

from __future__ import annotations

import subprocess
import sys

from engine.text.zh.words import Token, segmenter, word_lists


def test_lists_are_read() -> None:
    """Four lists, none of them empty, no word with a stray blank."""
    lists = word_lists()
    assert set(lists) == {"neutral", "stressed", "rhotic", "syllabic"}
    assert all(words and all(word.strip() == word for word in words) for words in lists.values())


def test_words_carry_tags() -> None:
    """jieba's words and tags, and nothing of the text lost."""
    tokens = segmenter().cut("我们去公园玩。")
    assert tokens[:2] == [Token("我们", "r"), Token("去", "v")]
    assert "".join(token.text for token in tokens) == "我们去公园玩。"


def test_halves_of_a_word() -> None:
    """The shortest dictionary word comes first or last."""
    assert segmenter().halves("纸老虎") == ("纸", "老虎")
    assert segmenter().halves("展览馆") == ("展览", "馆")
    assert segmenter().halves("好") == ("好", "")


def test_segmenter_is_built_once() -> None:
    """The dictionary is loaded once per process."""
    assert segmenter() is segmenter()


def test_importing_the_frontend_loads_no_dictionary() -> None:
    """A process that only imports the frontend does not pay for jieba."""
    code = "import engine.text.zh.frontend, sys; raise SystemExit('jieba' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from engine.text.mapped import MappedText


def test_replaced_text_points_at_the_whole_match() -> None:
    """Everything a rule writes carries the span of what the rule matched."""
    text = MappedText.of("a 15 b", offset=10).sub(re.compile(r"\d+"), "fifteen")
    assert text.text == "a fifteen b"
    assert text.span(2, 9) == (12, 14)
    assert text.span(10, 11) == (15, 16)


def test_rules_compose() -> None:
    """A rule over replaced text maps through both replacements."""
    text = MappedText.of("x1y").sub(re.compile("1"), " one ").sub(re.compile("one y"), "Z")
    assert (text.text, text.span(2, 3)) == ("x Z", (1, 3))


def test_a_rule_may_decline() -> None:
    """None from a replacement leaves the match as it is."""
    text = MappedText.of("1 2").sub(re.compile(r"\d"), lambda m: "x" if m[0] == "2" else None)
    assert text.text == "1 x"


def test_empty_ranges_and_texts_have_a_place() -> None:
    """What has no characters lies where its left neighbour ended."""
    assert MappedText.of("").span(0, 0) == (0, 0)
    assert MappedText.of("ab", 5).span(1, 1) == (6, 6)
    assert MappedText.of("ab", 5).span(0, 0) == (5, 5)
    assert MappedText.of("  a ").stripped().span(0, 1) == (2, 3)


def test_characters_translate_one_by_one() -> None:
    """A character may become several, which share its place."""
    text = MappedText.of("a①b").translated({ord("①"): "10"})
    assert (text.text, text.starts, text.ends) == ("a10b", (0, 1, 1, 2), (1, 2, 2, 3))


@given(st.text(alphabet="ab1 ", max_size=20), st.sampled_from(["", "x", "long"]))
def test_offsets_stay_inside_the_source_and_in_order(source: str, new: str) -> None:
    """No rule can point outside the source or swap two places."""
    text = MappedText.of(source).sub(re.compile(r"a+|1"), new)
    assert text.text == re.sub(r"a+|1", new, source)
    assert all(0 <= s <= e <= len(source) for s, e in zip(text.starts, text.ends, strict=True))
    assert list(text.starts) == sorted(text.starts)


def test_parts_join_in_order() -> None:
    """Slices joined again are the whole."""
    text = MappedText.of("hello")
    assert MappedText.join([text[:2], text[2:]]) == text
    assert MappedText.join([]).text == ""

"""How rules are applied."""

from __future__ import annotations

from engine.text.mapped import MappedText
from engine.text.zh.rules import apply, rule


def test_only_what_changed_gets_a_new_place() -> None:
    """Equal ends of a match keep their own offsets, the middle spans what it replaced."""
    said = apply([rule("第12号", lambda m: "第十二号")], MappedText.of("在第12号"))
    assert said.text == "在第十二号"
    assert said.starts == (0, 1, 2, 2, 4)
    assert said.ends == (1, 2, 4, 4, 5)


def test_rules_run_in_order() -> None:
    """A later rule sees what an earlier one made."""
    rules = [rule("a", lambda m: "b"), rule("b", lambda m: "c")]
    assert apply(rules, MappedText.of("ab")).text == "cc"


def test_none_leaves_a_match_to_later_rules() -> None:
    """A rule may look at a match and decline."""
    text = MappedText.of("12")
    assert apply([rule(r"\d+", lambda m: None)], text) == text


def test_nothing_can_be_made_of_something() -> None:
    """A deletion shortens the text and moves no offset."""
    said = apply([rule("x+", lambda m: "")], MappedText.of("axxb"))
    assert (said.text, said.starts) == ("ab", (0, 3))

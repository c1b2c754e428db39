"""Medians and ratios out of raw rounds."""

from __future__ import annotations

from typing import Any

import pytest

from bench.rivals.summary import engine_figures, is_whole, summarise


def clocks(
    first_s: float, wall_s: float, audio_s: float = 3.0, problem: str = ""
) -> dict[str, Any]:
    """Return the clocks of one utterance."""
    return {
        "clocks": {
            "first_frame_s": first_s,
            "wall_s": wall_s,
            "audio_s": audio_s,
            "problems": [problem] if problem else [],
            "error": "",
        }
    }


def a_round(first_s: float, *, audio_s: float = 3.0, wrong: str = "") -> dict[str, Any]:
    """Return a round in which everything takes `first_s` or a known multiple of it."""
    alone = [clocks(first_s * f, 4 * first_s, audio_s) for f in (0.9, 1.0, 5.0)]
    together = [clocks(2 * first_s, 8 * first_s, audio_s) for _ in range(3)]
    together.append(clocks(2 * first_s, 8 * first_s, audio_s, wrong))
    parts = {"t2s": {"calls": 225, "s": 3 * first_s}, "decoder": {"calls": 9, "s": first_s}}
    return {
        "rss_mb": 1000 * first_s,
        "rss_together_mb": 1100 * first_s,
        "ready_s": 1.0,
        "levels": [
            {"clients": 1, "others_share": 0.01, "runs": alone, "parts": parts},
            {"clients": 4, "others_share": 0.02, "runs": together, "parts": {}},
        ],
    }


def test_figures_are_medians_over_all_rounds() -> None:
    """One slow run moves no figure."""
    found = engine_figures([a_round(1.0), a_round(1.0)])
    assert found["first_audio_s"] == pytest.approx(1.0)
    assert found["rtf"] == pytest.approx(4.0 / 3.0)
    assert found["t2s_tokens_per_s"] == pytest.approx(9 * 25 / 3)
    assert found["decoder_rtf"] == pytest.approx(1 / 9)
    assert found["rss_mb"] == 1000 and found["rss_x4_mb"] == 1100
    assert found["right_x4"] == "8 of 8" and found["first_audio_x4_p95_s"] == pytest.approx(2.0)
    assert (found["n"], found["rounds"], found["others_share_max"]) == (6, 2, 0.02)


def test_wrong_audio_at_once_is_not_counted_as_speech() -> None:
    """A stream with something wrong is told and its clock is not used."""
    found = engine_figures([a_round(1.0, wrong="repeated_audio")])
    assert found["right_x4"] == "3 of 4" and found["problems_x4"] == ["repeated_audio"]
    short = a_round(1.0)
    short["levels"][1]["runs"][0]["clocks"]["audio_s"] = 1.0
    assert engine_figures([short])["right_x4"] == "3 of 4"


@pytest.mark.parametrize(
    ("problem", "whole"), [("silent", True), ("leading_silence", True), ("incomplete", False)]
)
def test_random_weights_may_be_silent_but_not_cut_off(problem: str, whole: bool) -> None:
    """Only what a random network can help."""
    assert is_whole(clocks(1.0, 2.0, problem=problem)["clocks"]) is whole


def test_ratios_are_ours_over_theirs() -> None:
    """Below one is better, also for speeds."""
    rounds = {"ours": [a_round(0.5)], "upstream": [a_round(2.0)], "genie-tts": []}
    found = summarise(rounds)
    assert set(found["engines"]) == {"ours", "upstream"} and "ratios_auto" not in found
    ratios = found["ratios"]
    assert ratios["first_audio"] == {"upstream": pytest.approx(0.25)}
    assert ratios["rtf"]["upstream"] == pytest.approx(0.25)
    assert ratios["t2s_seconds_per_token"]["upstream"] == pytest.approx(0.25)
    assert ratios["rss"]["upstream"] == pytest.approx(0.25)

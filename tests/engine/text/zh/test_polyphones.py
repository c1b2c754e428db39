"""Readings of polyphonic characters in context."""

from __future__ import annotations

import random
import re

import pytest

from engine.text.symbols import symbol_table
from engine.text.zh.g2p import Pronouncer
from engine.text.zh.pinyin import parse_syllable
from engine.text.zh.polyphones import (
    ContextPinyin,
    PhrasePinyin,
    corrections,
    dictionary_pinyin,
    is_phrase,
)
from engine.text.zh.words import Token, segmenter

_CASES = """
他是工商银[行hang2]的老客户 / 自[行xing2]车 / 这一[行hang2]代码 / 一[行xing2]人来了 / [行xing2]了
这条河很[长chang2] / 他[长zhang3]得很高 / 校[长zhang3]讲话 / [长chang2]时间等待 / 越[长zhang3]越大
箱子很[重zhong4] / 请您[重chong2]复一遍 / 请[重chong2]开一张发票 / [重zhong4]点
我[还hai2]没吃饭 / 请把书[还huan2]给我 / 他[还huan2]了我一百元 / 信用卡[还huan2]款日
他[还hai2]要去
你[得dei3]小心 / 我[得dei3]走了 / 跑[得de5]快 / 他[得de2]了第一名 / 觉[得de5]好 / 快[得de5]多
慢慢[地de5]走 / 高兴[地de5]说 / 这块[地di4]很大 / 土[地di4]肥沃
他看[着zhe5]我 / 睡[着zhao2]了 / 找不[着zhao2] / 手机[着zhao2]火了
受不[了liao3] / 去不[了liao3] / 不[了le5],谢谢 / 吃[了le5]饭
成[为wei2]朋友 / 总价[为wei2]三百元 / [为wei4]您服务 / 以此[为wei2]准 / [为wei4]什么
[只zhi3]有一个 / 一[只zhi1]猫 / 两[只zhi1]手 / [只zhi3]要九块九
他[种zhong4]了一棵树 / 这[种zhong3]情况 / [种zhong3]类很多
我[数shu3]一下 / [数shu4]字 / 数一[数shu3] / [教jiao1]你唱歌 / [教jiao4]育
[量liang2]一下体温 / 质[量liang4]很好 / 他[背bei1]着包 / [背bei4]单词
姓[单shan4] / 姓[曾zeng1] / [曾ceng2]经 / [炸zha2]鸡 / [炸zha4]弹 / 湖[泊po1] / [切qie1]水果
""".replace("\n", " / ")
_CASE = re.compile(r"([^/\[\s]*)\[(.)(\w+\d)\]([^/\s]*)")


@pytest.mark.parametrize(
    ("before", "char", "pinyin", "after"),
    _CASE.findall(_CASES),
    ids=["".join(case) for case in _CASE.findall(_CASES)],
)
def test_reading_in_context(before: str, char: str, pinyin: str, after: str) -> None:
    """The marked character is read as marked, up to tone changes."""
    phones = Pronouncer(symbol_table("v2")).phones(before + char + after)[len(before)]
    wanted = parse_syllable(pinyin)
    assert wanted is not None
    assert phones[0] == wanted.initial
    assert phones[1][:-1] == wanted.final


def test_fallback_of_upstream_is_kept_for_v1() -> None:
    """Without context 两只手 is read as upstream's fallback reads it."""
    tokens = segmenter().cut("一条很长的河")
    phrase = [p for reading in PhrasePinyin().read(tokens) for p in reading.pinyins]
    context = [p for reading in ContextPinyin().read(tokens) for p in reading.pinyins]
    assert (phrase[3], context[3]) == ("zhang3", "chang2")


def test_particles_with_a_full_reading_are_fixed() -> None:
    """得 read dei3 must not become neutral again, 得 read de5 may."""
    tokens = [Token("我", "r"), Token("得", "ud"), Token("走", "v")]
    assert ContextPinyin().read(tokens)[1].fixed == {0}


def test_corrections_are_readable_syllables() -> None:
    """Every line of the table has one Mandarin syllable per character."""
    for word, pinyins in corrections().items():
        assert len(word) == len(pinyins)
        assert all(parse_syllable(pinyin) for pinyin in pinyins)
        assert dictionary_pinyin(word) != pinyins, f"{word} needs no correction any more"


def test_dictionary_keeps_one_entry_per_character() -> None:
    """What has no reading stands for itself, also where pypinyin returns it in one lump."""
    assert dictionary_pinyin("好,,☃") == ("hao3", ",", ",", "☃")


def test_phrases() -> None:
    """A listed word is a phrase; a single character never is."""
    assert is_phrase("银行")
    assert is_phrase("炸鸡")
    assert not is_phrase("行")


def test_reads_as_pypinyin_does() -> None:
    """The packaged tables give pypinyin's readings, of phrases, of their parts and of pairs."""
    pypinyin = pytest.importorskip("pypinyin", reason="the tables were made from it")
    from pypinyin.phrases_dict import phrases_dict

    phrases = random.Random(1).sample(sorted(phrases_dict), 1500)
    parts = [phrase[start:] for phrase in phrases for start in (1, 2)]
    parts += [phrase[:-1] for phrase in phrases]
    pairs = [one + other for one, other in zip(phrases, phrases[1:], strict=False)]
    for word in filter(None, phrases + parts + pairs):
        style = pypinyin.Style.TONE3
        expected = pypinyin.lazy_pinyin(word, style=style, neutral_tone_with_five=True)
        assert list(dictionary_pinyin(word)) == expected, word


def test_every_character_is_read_as_pypinyin_reads_it() -> None:
    """Where a reading is a syllable, the table has it; elsewhere neither has one."""
    pypinyin = pytest.importorskip("pypinyin", reason="the tables were made from it")
    for code in range(0x4E00, 0xA000, 3):
        read = pypinyin.lazy_pinyin(
            chr(code), style=pypinyin.Style.TONE3, neutral_tone_with_five=True
        )
        found = dictionary_pinyin(chr(code))
        assert [parse_syllable(p) for p in found] == [parse_syllable(p) for p in read], chr(code)

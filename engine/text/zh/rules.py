"""What a normalisation rule is, and the pieces patterns are made of."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from engine.text.han import COMMON, ZERO
from engine.text.mapped import MappedText

NUMBER = r"\d+(?:\.\d+)?"
HAN = COMMON + ZERO
# Words a number counts; after them 2 is read 两. 月 日 号 级 楼 期 路 ... name things instead.
MEASURES = (
    "个|位|名|只|头|条|匹|件|套|台|架|辆|艘|张|片|本|册|部|篇|首|句|段|项|份|种|类|次|遍|回|趟|场|局|轮|"
    "口|户|家|间|座|栋|幢|层|棵|株|朵|颗|粒|根|支|枝|把|双|对|副|盒|箱|包|袋|瓶|杯|碗|盘|碟|桶|罐|壶|串|"
    "处|所|幅|封|例|笔|集|章|节|堂|课|字|站|平方米|平米|平方|立方米|立方|平|亩|公里|千米|厘米|毫米|米|"
    "公斤|斤|千克|毫克|克|吨|毫升|升|寸|尺|丈|"
    "元|块|角|毛|美元|欧元|日元|英镑|港币|分钟|分|小时|时|天|周年?|年(?!级)|星期|礼拜|岁|秒|刻钟|"
    "倍|步|页|组(?!\\d)|群|滴|枚|成|折|人|批|桌|顿|面|道|款|"
    "万|亿|千|百"
)


@dataclass(frozen=True, slots=True)
class Rule:
    """One rewriting of digits or signs into words.

    Attributes:
        pattern: What it looks at; numbers are ASCII digits by then.
        say: The words, or None to leave the match to a later rule.
    """

    pattern: re.Pattern[str]
    say: Callable[[re.Match[str]], str | None]


def rule(pattern: str, say: Callable[[re.Match[str]], str | None]) -> Rule:
    """Return the rule that replaces matches of `pattern` by what `say` returns."""
    return Rule(re.compile(pattern), say)


def apply(rules: Iterable[Rule], text: MappedText) -> MappedText:
    """Return `text` after every rule, in order.

    What a rule leaves as it was at both ends of a match keeps its own place in the source.
    """
    for each in rules:
        text = _apply(each, text)
    return text


def _apply(each: Rule, text: MappedText) -> MappedText:
    parts: list[MappedText] = []
    done = 0
    for match in each.pattern.finditer(text.text):
        old, new = match[0], each.say(match)
        if new is None or new == old:
            continue
        head = _common_prefix(old, new)
        tail = _common_prefix(old[head:][::-1], new[head:][::-1])
        begin, end = match.start() + head, match.end() - tail
        words = new[head : len(new) - tail]
        start, stop = text.span(begin, end)
        count = len(words)
        parts += (text[done:begin], MappedText(words, (start,) * count, (stop,) * count))
        done = end
    return MappedText.join((*parts, text[done:])) if parts else text


def _common_prefix(left: str, right: str) -> int:
    limit = min(len(left), len(right))
    return next((i for i in range(limit) if left[i] != right[i]), limit)

"""Tone changes of Mandarin words: 不, 一, the neutral tone, and runs of third tones.

The rules and their order are those of the frontend the public checkpoints were trained with
(PaddleSpeech's): a checkpoint has learnt how this frontend writes what it heard, so the rules are
followed even where a phonetician would write something else. A tone of 0 marks a
character that is no syllable (punctuation); it is never changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from engine.text.zh.words import Segmenter, Token, word_lists

NEUTRAL = 5

_PARTICLES = frozenset("吧呢哈啊呐噻嘛吖嗨呐哦哒额滴哩哟喽啰耶喔诶")
_STRUCTURAL = frozenset("的地得")
_ASPECT_TAGS = frozenset({"ul", "uz", "ug"})  # 了 着 过 after a verb
_PLACE_TAGS = frozenset({"s", "l", "f"})
_DIRECTIONS = frozenset("上下进出回过起开")
_BEFORE_MEASURE = frozenset("几有两半多各整每做是")
_PAUSES = frozenset("：，；。？！“”‘’':,;.?!…-")

TonesOf = Callable[[str], Sequence[int]]  # the dictionary tones of a word


def change_tones(token: Token, tones: Sequence[int], segmenter: Segmenter) -> list[int]:
    """Return the tones `token` is spoken with.

    Args:
        token: A word as `merge_words` left it.
        tones: Its dictionary tones, one per character, 0 for punctuation.
        segmenter: Finds the parts of a longer word.
    """
    word = token.text
    spoken = _after_bu(word, list(tones))
    spoken = _after_yi(word, spoken)
    spoken = _neutral(token, spoken, segmenter)
    spoken = _third_tones(word, spoken, segmenter)
    return [tone if before else 0 for tone, before in zip(spoken, tones, strict=True)]


def _after_bu(word: str, tones: list[int]) -> list[int]:
    if len(word) == 3 and word[1] == "不":  # 看不懂
        tones[1] = NEUTRAL
        return tones
    for i, char in enumerate(word[:-1]):
        if char == "不" and tones[i + 1] == 4:  # 不怕
            tones[i] = 2
    return tones


def _after_yi(word: str, tones: list[int]) -> list[int]:
    if all(char.isnumeric() for char in word):  # 二一零; 一 is numeric itself
        return tones
    if len(word) == 3 and word[1] == "一" and word[0] == word[2]:  # 看一看
        tones[1] = NEUTRAL
    elif word.startswith("第一"):
        tones[1] = 1
    else:
        for i, char in enumerate(word[:-1]):
            if char == "一" and tones[i + 1] == 4:  # 一段
                tones[i] = 2
            elif char == "一" and word[i + 1] not in _PAUSES:  # 一天
                tones[i] = 4
    return tones


def _is_neutral(word: str) -> bool:
    neutral = word_lists()["neutral"]
    return word in neutral or word[-2:] in neutral


def _neutral(token: Token, tones: list[int], segmenter: Segmenter) -> list[int]:
    word, tag = token.text, token.tag
    stressed = word in word_lists()["stressed"]
    if tag[:1] in {"n", "v", "a"} and not stressed:
        for i in range(1, len(word)):
            if word[i] == word[i - 1]:  # 奶奶, 试试
                tones[i] = NEUTRAL
    measure = word.find("个")
    if _ends_neutral(word, tag, stressed):
        tones[-1] = NEUTRAL
    elif word == "个" or (measure > 0 and _counts(word[measure - 1])):
        tones[measure] = NEUTRAL
    elif _is_neutral(word):
        tones[-1] = NEUTRAL
    first, second = segmenter.halves(word)
    if _is_neutral(first):
        tones[len(first) - 1] = NEUTRAL
    if _is_neutral(second):
        tones[-1] = NEUTRAL
    return tones


def _counts(char: str) -> bool:
    return char.isnumeric() or char in _BEFORE_MEASURE


def _ends_neutral(word: str, tag: str, stressed: bool) -> bool:
    """Whether the last character is a suffix or particle without stress, whatever the word."""
    last = word[-1]
    if last in _PARTICLES or last in _STRUCTURAL:
        return True
    if len(word) == 1:
        return last in "了着过" and tag in _ASPECT_TAGS
    return (
        (last in "们子" and tag in {"r", "n"} and not stressed)
        or (last in "上下里" and tag in _PLACE_TAGS)  # 桌上, 家里
        or (last in "来去" and word[-2] in _DIRECTIONS)  # 上来, 下去
    )


def _third_tones(word: str, tones: list[int], segmenter: Segmenter) -> list[int]:
    if len(word) == 2:
        _raise_first(tones, 0, 2)
    elif len(word) == 3:
        _third_tones_of_three(word, tones, segmenter)
    elif len(word) == 4:  # an idiom: two and two
        _raise_first(tones, 0, 2)
        _raise_first(tones, 2, 4)
    return tones


def _raise_first(tones: list[int], start: int, end: int) -> None:
    if all(tone == 3 for tone in tones[start:end]):
        tones[start] = 2


def _third_tones_of_three(word: str, tones: list[int], segmenter: Segmenter) -> None:
    cut = len(segmenter.halves(word)[0])
    if tones == [3, 3, 3]:
        if cut == 2:  # 蒙古|包
            tones[0] = tones[1] = 2
        elif cut == 1:  # 纸|老虎
            tones[1] = 2
    elif cut == 2:
        _raise_first(tones, 0, 2)  # 所有|人
    elif cut == 1:
        if tones[1:] == [3, 3]:
            tones[1] = 2
        elif tones[:2] == [3, 3]:  # 好|喜欢
            tones[0] = 2


def merge_words(tokens: Sequence[Token], tones_of: TonesOf) -> list[Token]:
    """Join words whose tones depend on each other, so that each word can be treated alone.

    Args:
        tokens: The words of one clause, punctuation included.
        tones_of: The dictionary tones of a word, one per character.

    Returns:
        Fewer and longer words; joined, they spell the same.
    """
    words = _merge_bu(tokens)
    words = _merge_yi(words)
    words = _merge_repeats(words)
    words = _merge_third_tones(words, tones_of, _all_third)
    words = _merge_third_tones(words, tones_of, _third_meets_third)
    return _merge_er(words)


def _merge_bu(tokens: Sequence[Token]) -> list[Token]:
    merged: list[Token] = []
    pending = ""
    for token in tokens:
        text = pending + token.text
        if text == "不":
            pending = text
            continue
        merged.append(Token(text, token.tag))
        pending = ""
    if pending:
        merged.append(Token(pending, "d"))
    return merged


def _merge_yi(tokens: Sequence[Token]) -> list[Token]:
    joined: list[Token] = []
    i = 0
    while i < len(tokens):
        if 0 < i < len(tokens) - 1 and tokens[i].text == "一":
            before, after = joined[-1], tokens[i + 1]
            if before.text == after.text and before.tag == after.tag == "v":  # 听一听
                joined[-1] = Token(f"{before.text}一{after.text}", "v")
                i += 2
                continue
        joined.append(tokens[i])
        i += 1
    merged: list[Token] = []
    for token in joined:
        if merged and merged[-1].text == "一":
            merged[-1] = _append(merged[-1], token)
        else:
            merged.append(token)
    return merged


def _merge_repeats(tokens: Sequence[Token]) -> list[Token]:
    merged: list[Token] = []
    for token in tokens:
        if merged and merged[-1].text == token.text:
            merged[-1] = _append(merged[-1], token)
        else:
            merged.append(token)
    return merged


def _all_third(left: Sequence[int], right: Sequence[int]) -> bool:
    return all(tone == 3 for tone in (*left, *right))


def _third_meets_third(left: Sequence[int], right: Sequence[int]) -> bool:
    return left[-1] == 3 and right[0] == 3


def _merge_third_tones(
    tokens: Sequence[Token],
    tones_of: TonesOf,
    depend: Callable[[Sequence[int], Sequence[int]], bool],
) -> list[Token]:
    merged: list[Token] = []
    previous_was_merged = False
    tones = [tones_of(token.text) for token in tokens]
    for i, token in enumerate(tokens):
        merges = (
            i > 0
            and not previous_was_merged
            and depend(tones[i - 1], tones[i])
            and len(tokens[i - 1].text) + len(token.text) <= 3
            and not _is_repeat(tokens[i - 1].text)  # 姐姐 has its own rule
        )
        if merges:
            merged[-1] = _append(merged[-1], token)
        else:
            merged.append(token)
        previous_was_merged = merges
    return merged


def _is_repeat(word: str) -> bool:
    return len(word) == 2 and word[0] == word[1]


def _merge_er(tokens: Sequence[Token]) -> list[Token]:
    merged: list[Token] = []
    for token in tokens:
        if merged and token.text == "儿":
            merged[-1] = _append(merged[-1], token)
        else:
            merged.append(token)
    return merged


def _append(token: Token, other: Token) -> Token:
    return Token(token.text + other.text, token.tag)

"""Words in capitals: which are said as words, the rest are spelled letter by letter."""

from __future__ import annotations

from collections.abc import Sequence

from engine.text.en.dictionary import Dictionary

# Initials that became words.
_SAID = frozenset(
    "aids asean bios captcha covid cuda dos fema fifa gif ikea ielts jpeg json laser llama lora "
    "nafta nand nasa nato onnx opec osha pin radar ram roberta rom sars scuba sim swat toefl uefa "
    "unesco unicef unix wifi yaml ok okay".split()
)
# Short words shops and chats put in capitals; other words of three letters are initials.
_SHOUTED = frozenset(
    "air all and are bag big box but buy can car cut day did dog end eye for fun get "
    "god got guy had hat her him his hot how job joy key kid let lol low man max men mix mom mrs "
    "new not now off old one our out own pay pro put red run sad say see set she sky sun the toy "
    "try two use war was way who why win won wow yes yet you".split()
)
_SHORT = frozenset(
    "am an as at be by do go he if in is it me my no of on or so to up us we".split()
)
_MIN_WORD = 4
_MIN_FREQUENCY = 33  # about the 20 000 most common words


def is_said(tokens: Sequence[str], index: int, words: Dictionary) -> bool:
    """True if the capitals `tokens[index]` are said as a word, False if they are spelled.

    Args:
        tokens: The sentence.
        index: Where a token of two or more capitals stands.
        words: What counts as a word when somebody writes in capitals.
    """
    word = tokens[index].lower()
    if word in _SAID or word in _SHOUTED:
        return True
    if len(word) >= _MIN_WORD:
        return word in words and words.frequency(word) >= _MIN_FREQUENCY
    # "IT" and "US" are words only in the middle of a shout: BUY IT NOW.
    return word in _SHORT and _shouts(tokens, index - 1) and _shouts(tokens, index + 1)


def _shouts(tokens: Sequence[str], index: int) -> bool:
    if not 0 <= index < len(tokens):
        return True
    token = tokens[index]
    return not token[0].isalpha() or (token.isupper() and len(token) > 1) or token == "I"

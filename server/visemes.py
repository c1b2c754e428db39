"""Mouth shapes of phonemes: the 15 Oculus visemes.

A symbol is a phone of one of five inventories that share one table (pinyin initials and finals,
ARPAbet, Japanese romaji, Korean letters, Jyutping behind a "Y"); tones and stress do not move the
mouth. A diphthong has the shape of its open part.
"""

from __future__ import annotations

from functools import cache

SILENCE = "sil"

# Shape: the symbols that have it, without tones and stress.
_SHAPES = {
    SILENCE: "! , - . ? … [ ] SP SP2 SP3 UNK _ 停 空 cl",
    "PP": "P B M b p m by my py ㅁ ㅂ ㅃ ㅍ",
    "FF": "F V f",
    "TH": "TH DH",
    "DD": "T D d t dy ty ㄷ ㄸ ㅌ",
    "kk": "K G HH g k h gy hy ky ㄱ ㄲ ㅋ ㅎ",
    "CH": "CH JH SH ZH j q x zh ch sh ㅈ ㅉ ㅊ",
    "SS": "S Z s z c ts ㅅ ㅆ",
    "nn": "N NG L n l ny ㄴ ㄹ ㅇ",
    "RR": "R ER r ry er",
    "aa": "AA AH AE AW AY a ai an ang ao ia iang iao ua uai uan uang ㅏ",
    "E": "EH EY E EE En e ei en eng ian ie ui ve van ㅐ ㅓ ㅔ",
    "ih": "IH IY Y I i i0 ir in ing y ㅣ",
    "oh": "AO OW OY OO o ong iong uo ㅗ",
    "ou": "UH UW W U ou iu u un v vn w ㅜ ㅡ",
}
_BY_SYMBOL = {symbol: shape for shape, symbols in _SHAPES.items() for symbol in symbols.split()}
_VOWELS = {"aa": "aa", "a": "aa", "e": "E", "i": "ih", "oe": "E", "o": "oh", "yu": "ou", "u": "ou"}
_TONES = "0123456789"


@cache
def viseme(symbol: str) -> str:
    """Return the shape of a phoneme; `sil` for one that is not known."""
    # SP2 and SP3 are pauses, i0 is the vowel of "si": the digit is part of the name.
    for name in (symbol, symbol[:2] if symbol.startswith("i0") else "", symbol.rstrip(_TONES)):
        if name in _BY_SYMBOL:
            return _BY_SYMBOL[name]
    return _jyutping(symbol.rstrip(_TONES)) if symbol.startswith("Y") else SILENCE


def _jyutping(symbol: str) -> str:
    """Return the shape of a Cantonese phone: its vowel's, or its initial consonant's."""
    phone = symbol[1:]
    vowel = next((v for v in ("yu", "aa", "oe", *"aeiou") if phone.startswith(v)), None)
    if vowel is not None:
        return _VOWELS[vowel]
    initial = {"ng": "nn", "gw": "kk", "kw": "kk", "j": "ih", "z": "CH", "c": "CH"}
    return initial.get(phone) or _BY_SYMBOL.get(phone, SILENCE)

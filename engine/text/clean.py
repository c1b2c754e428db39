"""Removes what is written but not said: markdown, HTML, emoji, control characters.

Every kept character remembers its place in the original. Numbers, signs and addresses stay as they
are: how they are read depends on the language, so that is the language frontends' work.
"""

from __future__ import annotations

import html
import re
import unicodedata

from engine.text.mapped import MappedText, Rule

_INVISIBLE = re.compile(
    # soft hyphen, zero-width and direction marks, BOM, variation selectors, private use, controls
    "[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u206f\ufe00-\ufe0f\ufeff\ufff9-\ufffd"
    "\ue000-\uf8ff\U000e0000-\U000e0fff\U000f0000-\U0010ffff\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]"
)
# Letters in pieces, as file systems and some keyboards write them: é, が, 한.
_DECOMPOSED = re.compile(
    "[^\\W\\d_][\u0300-\u036f\u3099\u309a]+|[\u1100-\u1112][\u1161-\u1175][\u11a8-\u11c2]?"
)
_EMOJI = re.compile(
    "[\U0001f000-\U0001faff\u2190-\u21ff\u2300-\u23ff\u25a0-\u25ff\u2600-\u27bf\u2900-\u297f"
    "\u2b00-\u2bff\u3030\u303d\u3297\u3299\u20e3]"
)
_EMOTICON = re.compile(r"(?<![\w:])(?:[:;=]['’]?-?[)(DPpOo|]|<3|\^_+\^|[xX]D|[TQ]_[TQ])(?!\w)")
_FENCE = re.compile(r"^[ \t]*(?:```+|~~~+)[^\n]*$", re.MULTILINE)
_MARKDOWN: tuple[Rule, ...] = (
    (_FENCE, ""),
    (re.compile(r"^[ \t]*(?:[-*_][ \t]*){3,}$", re.MULTILINE), ""),  # rulers
    (re.compile(r"^[ \t]*\|?(?:[ \t]*:?-{2,}:?[ \t]*\|)+[ \t:-]*$", re.MULTILINE), ""),  # tables
    (re.compile(r"^[ \t]{0,3}#{1,6}[ \t]+|[ \t]+#+[ \t]*$", re.MULTILINE), ""),
    (re.compile(r"^[ \t]*(?:>[ \t]*)+", re.MULTILINE), ""),
    (re.compile(r"^[ \t]*[-*+•·‣▪◦●○■□◆◇★☆][ \t]+(?=\S)", re.MULTILINE), ""),
    (re.compile(r"\[[ xX]\][ \t]+"), ""),  # task lists
)
# The words of a link without its target; the brackets go piece by piece to keep offsets exact.
_LINK = re.compile(r"!?\[(?P<text>[^\[\]]*)\](?:\([^()\s]*(?:\s+\"[^\"]*\")?\)|\[[^\[\]]*\])")
_INLINE: tuple[Rule, ...] = (
    (re.compile(r"\\[\\`*_#|~>]"), " "),
    (re.compile(r"\\(?=[{}\[\]()+.!-])"), ""),
    (re.compile(r"(?<!\d)\*{1,3}(?=\S)|(?<=\S)\*{1,3}(?!\d)"), ""),  # 2*3 is arithmetic
    (re.compile(r"(?<!\w)_{1,3}(?=\S)|(?<=\S)_{1,3}(?!\w)"), ""),
    (re.compile(r"~~|`+"), ""),
)
_BREAK = re.compile(r"<(?:br|p|/p|div|/div|li|/li)\b[^<>]*>", re.IGNORECASE)
_TAG = re.compile(r"</?[A-Za-z][\w:-]*(?:\s[^<>]*)?/?>|<!--.*?-->", re.DOTALL)
_AUTOLINK = re.compile(r"<(?=https?://|[\w.+-]+@)|(?<=\w)>(?=\s|$)")
_ENTITY = re.compile(r"&(?:#\d{1,6}|#x[0-9A-Fa-f]{1,5}|[A-Za-z]{2,8});")
_SPACING: tuple[Rule, ...] = (
    (re.compile(r"(?<=[^\W_])[ \t]*\|[ \t]*(?=\w)"), ", "),
    (re.compile(r"\|"), " "),
    (re.compile(r"(?<=[^\W_])\s*\n\s*(?=\w)"), ", "),  # lines without a mark are a list
    (re.compile(r"(?<=\d)：(?=\d)"), ":"),
    # Upstream keeps the first of a run of its marks; a sign before a number is none.
    (re.compile(r"([!?…,.-])[!?…,.-]+(?!\d)"), lambda m: m.group(1)),
    (re.compile(r"([。！？，、；：～~])\1+"), lambda m: m.group(1)),
    (re.compile(r"\s+"), " "),
)
_HALF_WIDTH = {
    **{code: chr(code - 0xFEE0) for code in range(0xFF10, 0xFF1A)},  # 0-9
    **{code: chr(code - 0xFEE0) for code in (*range(0xFF21, 0xFF3B), *range(0xFF41, 0xFF5B))},
    **{
        ord(wide): narrow
        for wide, narrow in zip("％＋－＝／＃＄＆＊＠．＿　", "%+-=/#$&*@._ ", strict=True)
    },
}


def _composed(match: re.Match[str]) -> str:
    return unicodedata.normalize("NFC", match.group())


def clean(text: MappedText) -> MappedText:
    """Return `text` as one line of plain writing.

    Args:
        text: What the client sent, possibly markdown or HTML, possibly a fragment of it.
    """
    text = text.sub(_INVISIBLE, "").sub(_DECOMPOSED, _composed).translated(_HALF_WIDTH)
    text = text.sub(_BREAK, "\n").sub(_TAG, " ").sub(_AUTOLINK, " ").sub(_ENTITY, _unescape)
    text = text.rewritten(_MARKDOWN)
    text = _unlinked(text)
    text = text.rewritten(_INLINE).sub(_EMOTICON, " ").sub(_EMOJI, " ")
    return text.rewritten(_SPACING).stripped()


def is_speakable(text: str) -> bool:
    """True if `text` holds a letter, digit or ideograph; marks alone are not spoken."""
    return any(unicodedata.category(char)[0] in "LN" for char in text)


def _unescape(match: re.Match[str]) -> str | None:
    plain = html.unescape(match.group())
    return None if plain == match.group() else plain.replace("\xa0", " ")


def _unlinked(text: MappedText) -> MappedText:
    parts: list[MappedText] = []
    done = 0
    for match in _LINK.finditer(text.text):
        parts += [text[done : match.start()], text[match.start("text") : match.end("text")]]
        done = match.end()
    return MappedText.join([*parts, text[done:]]) if parts else text

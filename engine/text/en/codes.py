"""Things that are spelled rather than read: addresses, versions, phone and order numbers."""

from __future__ import annotations

import re

from engine.text.en.numbers import cardinal, digits

_TLD = (
    "com|net|org|io|ai|cn|co|uk|dev|app|edu|gov|me|tv|info|xyz|jp|kr|hk|tw|us|de|fr|eu|cc|shop|live"
)
_SIGNS = {".": " dot ", "-": " dash ", "_": " underscore ", "/": " slash ", "+": " plus "}
# Words before a number that make it an identifier: call centres read those digit by digit.
_ID_WORDS = (
    "order|orders|account|acct|code|codes|id|ids|tracking|ticket|invoice|reference|ref|case|"
    "confirmation|booking|reservation|pin|otp|passcode|password|serial|member|membership|customer|"
    "policy|flight|extension|ext|zip|postcode|dial|call|phone|tel|mobile|card|ending|imei|sku"
)

EMAIL = re.compile(r"\b[\w.+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+", re.ASCII)
HOST = re.compile(
    rf"(?:https?://)?(?:www\.)?((?:[A-Za-z0-9-]+\.)+(?:{_TLD}))\b(?![.@]?\w)(?:[/?#:](?:\S*[^\s.,!?;:)])?)?",
    re.ASCII,
)
VERSION = re.compile(r"\b[vV]\.?(\d+(?:\.\d+)+)\b|(?<![\d.$£€])(\d+(?:\.\d+){2,})(?![\d.]*\d)")
PHONE = re.compile(
    r"(?<![\w.])(?:\+\d{1,3}[ -]?)?(?:\(\d{2,4}\)[ -]?|\d{3,4}[ -])\d{3,4}[ -]?\d{3,4}(?![\w-])"
    r"|(?<![\w.])1-\d{3}-\d{3}-\d{4}(?![\w-])|(?<![\w.])\+\d{7,15}(?!\w)|(?<!\w)\d{3}-\d{4}(?![\w-])"
)
ID_NUMBER = re.compile(
    rf"\b((?:{_ID_WORDS})(?:[ ]?(?:number|no\.?|code|id|is|in|:|\#)){{0,3}}[ :#]*)"
    r"(\d[\d-]{2,}\d)\b(?![.,]?\d)",
    re.IGNORECASE,
)
ALNUM_CODE = re.compile(
    r"(?<![\w.])(?=[A-Za-z0-9-]*\d)(?=[A-Za-z0-9-]*[A-Z])[A-Z0-9]+(?:-[A-Z0-9]+)*(?!\w)"
)
# RTX 4090, GTX 1080: model numbers are said in pairs.
MODEL_NUMBER = re.compile(r"\b([A-Z]{2,} )([1-9]\d)([1-9]\d)(?![\w,%-]|\.\d)")
LONG_NUMBER = re.compile(r"(?<![\w.,])(?:(?!\d+000(?!\d))\d{7,}|0\d+)(?![\w]|[.,]\d)")

_CODE_PIECE = re.compile(r"[A-Z]+|\d+")


def spell_host(text: str) -> str:
    """Return "my-shop.example.com" as words; labels stay words, a dot is "dot"."""
    text = re.sub(r"[._/+-]", lambda match: _SIGNS[match.group()], text)
    return re.sub(r"\d+", lambda match: f" {digits(match.group())} ", text)


def read_email(match: re.Match[str]) -> str:
    """Read an e-mail address."""
    user, _, host = match.group().partition("@")
    return f" {spell_host(user)} at {spell_host(host)} "


def read_host(match: re.Match[str]) -> str:
    """Read a web address by its host; nobody wants to hear the path."""
    return f" {spell_host(match.group(1))} "


def read_version(match: re.Match[str]) -> str:
    """Read v2.0 as "version two point zero", 192.168.1.1 with its dots."""
    if match.group(1):
        head, *rest = match.group(1).split(".")
    else:
        head, *rest = match.group(2).split(".")
    parts = [head, *rest]
    if len(parts) == 4 and not match.group(1):
        return " dot ".join(digits(part) for part in parts)
    words = " point ".join(cardinal(int(part)) for part in parts)
    return f"version {words}" if match.group(1) else words


def read_phone(match: re.Match[str]) -> str:
    """Read a phone number in its written groups, with a breath between them."""
    groups = re.findall(r"\d+", match.group())
    words = ", ".join(digits(group) for group in groups)
    return f"plus {words}" if match.group().startswith("+") else words


def read_id(match: re.Match[str]) -> str:
    """Read the number of an order, account ... digit by digit."""
    return match.group(1).rstrip(" #") + " " + read_digit_run(match.group(2))


def read_digit_run(text: str) -> str:
    """Return a digit string one by one; a breath at each dash, or after four digits of a long one.

    "13812345678" is read 3-4-4, as mobile numbers are said.
    """
    if "-" in text:
        return ", ".join(digits(part) for part in text.split("-"))
    if len(text) == 11:
        return ", ".join(digits(part) for part in (text[:3], text[3:7], text[7:]))
    if len(text) > 8:
        return ", ".join(digits(text[i : i + 4]) for i in range(0, len(text), 4))
    return digits(text)


def read_code(match: re.Match[str]) -> str | None:
    """Read a code such as A1024, SKU-77B, H264 or GPT-4: capitals stay, digits by their length."""
    text = match.group()
    pieces = _CODE_PIECE.findall(text)
    if not any(piece.isalpha() for piece in pieces):
        return None
    return " ".join(piece if piece.isalpha() else _code_digits(piece) for piece in pieces)


def read_model_number(match: re.Match[str]) -> str:
    """Read the 4090 of "RTX 4090" as "forty ninety"."""
    name, high, low = match.groups()
    return f"{name}{cardinal(int(high))} {cardinal(int(low))}"


def _code_digits(text: str) -> str:
    if text.startswith("0") or len(text) > 4:
        return digits(text)
    if len(text) <= 2 or text.endswith("00"):
        return cardinal(int(text))
    return digits(text)

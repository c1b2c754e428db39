"""Written short forms and what they are said as."""

from __future__ import annotations

import re

_TITLES = {
    "Mr": "mister",
    "Mrs": "missus",
    "Ms": "ms",
    "Dr": "doctor",
    "Prof": "professor",
    "Gen": "general",
    "Sgt": "sergeant",
    "Capt": "captain",
    "Lt": "lieutenant",
    "Col": "colonel",
    "Rev": "reverend",
    "Hon": "honorable",
    "Gov": "governor",
    "Sen": "senator",
    "Rep": "representative",
    "Mt": "mount",
}
_WORDS = {
    "Jr": "junior",
    "Sr": "senior",
    "Inc": "incorporated",
    "Ltd": "limited",
    "Co": "company",
    "Corp": "corporation",
    "Dept": "department",
    "Est": "established",
    "Ave": "avenue",
    "Blvd": "boulevard",
    "Rd": "road",
    "approx": "approximately",
    "Approx": "approximately",
    "vs": "versus",
    "etc": "et cetera",
    "est": "estimated",
    "ext": "extension",
    "Ext": "extension",
    "tel": "telephone",
    "Tel": "telephone",
    "min": "minimum",
    "max": "maximum",
    "Jan": "January",
    "Feb": "February",
    "Mar": "March",
    "Apr": "April",
    "Jun": "June",
    "Jul": "July",
    "Aug": "August",
    "Sept": "September",
    "Sep": "September",
    "Oct": "October",
    "Nov": "November",
    "Dec": "December",
}
_MONTHS = frozenset("Jan Feb Mar Apr Jun Jul Aug Sept Sep Oct Nov Dec".split())

LATIN = re.compile(r"\b(i\.\s?e\.|e\.\s?g\.),?", re.IGNORECASE)
TITLE = re.compile(
    rf"\b(Mr|Mrs|Ms|Dr|Prof)\b(?:\.(?=\s)|(?=\s+[A-Z]))|\b({'|'.join(_TITLES)})\.(?=\s+[A-Z])"
)
SAINT = re.compile(r"(\b[A-Z]\w*\s+)?\bSt\.(?=\s+[A-Z])")
STREET = re.compile(r"\b(St|Ave|Blvd|Rd)\.(?!\w)")
MONTH = re.compile(rf"\b({'|'.join(_MONTHS)})\.?(?=\s+\d{{1,2}}\b)")
SHORT = re.compile(rf"\b({'|'.join(sorted(_WORDS, key=len, reverse=True))})\.(?=(\s*)(\S?))")
DOTTED = re.compile(r"\b(?:[A-Za-z]\.){2,}(?=(?:\s*)(\S?))")
WITH = re.compile(r"\bw/(o?)(?=[\s\w])")


def read_latin(match: re.Match[str]) -> str:
    """Read "e.g." as "for example" and "i.e." as "that is"."""
    return "that is" if match.group(1).lower().startswith("i") else "for example"


def read_title(match: re.Match[str]) -> str:
    """Read the title before a name."""
    return _TITLES[match.group(1) or match.group(2)]


def read_saint(match: re.Match[str]) -> str | None:
    """Read the St. of "in St. Louis"; after a name ("Baker St. Station") it is a street."""
    return None if match.group(1) else "saint"


def read_street(match: re.Match[str]) -> str:
    """Read the last word of an address."""
    word = "street" if match.group(1) == "St" else _WORDS[match.group(1)]
    return word + _kept_stop(match)


def read_month(match: re.Match[str]) -> str:
    """Read "Jan. 5" and "Jan 5"."""
    return _WORDS[match.group(1)]


def read_short(match: re.Match[str]) -> str:
    """Read a short form; its period ends the sentence too when nothing or a capital follows."""
    ends = not match.group(3) or (match.group(2) and match.group(3).isupper())
    return _WORDS[match.group(1)] + ("." if ends else "")


def read_dotted(match: re.Match[str]) -> str:
    """Read U.S.A. and p.m. as capitals, which are spelled."""
    letters = " ".join(match.group().replace(".", "").upper())
    return letters + ("" if match.group(1) else ".")


def read_with(match: re.Match[str]) -> str:
    """Read "w/" and "w/o"."""
    return "without " if match.group(1) else "with "


def _kept_stop(match: re.Match[str]) -> str:
    rest = match.string[match.end() :].lstrip()
    return "." if not rest else ""

"""Amounts: money, percentages, units, fractions, ranges, ordinals, arithmetic."""

from __future__ import annotations

import re

from engine.text.en.numbers import cardinal, decimal, fraction, ordinal

_NUMBER = r"\d{1,3}(?:,\d{3})+(?:\.\d+)?|\d+(?:\.\d+)?|\.\d+"
_SCALES = {"k": "thousand", "m": "million", "b": "billion", "bn": "billion", "mn": "million"}
_SCALE = r"(?:\s?(thousand|million|billion|trillion)\b|(k|K|m|M|b|B|bn|mn)\b)?"

# sign -> singular, plural, hundredth, hundredths
_CURRENCIES = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "US$": ("US dollar", "US dollars", "cent", "cents"),
    "HK$": ("Hong Kong dollar", "Hong Kong dollars", "cent", "cents"),
    "S$": ("Singapore dollar", "Singapore dollars", "cent", "cents"),
    "A$": ("Australian dollar", "Australian dollars", "cent", "cents"),
    "C$": ("Canadian dollar", "Canadian dollars", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "€": ("euro", "euros", "cent", "cents"),
    "¥": ("yuan", "yuan", "", ""),
    "￥": ("yuan", "yuan", "", ""),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "₩": ("won", "won", "", ""),
}
_CURRENCY_CODES = {
    "USD": "US dollars",
    "RMB": "yuan",
    "CNY": "yuan",
    "EUR": "euros",
    "GBP": "pounds",
    "JPY": "yen",
    "HKD": "Hong Kong dollars",
}
_UNITS = {
    "km/h": ("kilometer per hour", "kilometers per hour"),
    "m/s": ("meter per second", "meters per second"),
    "km": ("kilometer", "kilometers"),
    "cm": ("centimeter", "centimeters"),
    "mm": ("millimeter", "millimeters"),
    "kg": ("kilogram", "kilograms"),
    "mg": ("milligram", "milligrams"),
    "lb": ("pound", "pounds"),
    "lbs": ("pound", "pounds"),
    "oz": ("ounce", "ounces"),
    "ft": ("foot", "feet"),
    "sqft": ("square foot", "square feet"),
    "mph": ("mile per hour", "miles per hour"),
    "ml": ("milliliter", "milliliters"),
    "mL": ("milliliter", "milliliters"),
    "tbsp": ("tablespoon", "tablespoons"),
    "tsp": ("teaspoon", "teaspoons"),
    "kB": ("kilobyte", "kilobytes"),
    "KB": ("kilobyte", "kilobytes"),
    "MB": ("megabyte", "megabytes"),
    "GB": ("gigabyte", "gigabytes"),
    "TB": ("terabyte", "terabytes"),
    "Mbps": ("megabit per second", "megabits per second"),
    "Gbps": ("gigabit per second", "gigabits per second"),
    "kbps": ("kilobit per second", "kilobits per second"),
    "Hz": ("hertz", "hertz"),
    "kHz": ("kilohertz", "kilohertz"),
    "MHz": ("megahertz", "megahertz"),
    "GHz": ("gigahertz", "gigahertz"),
    "kW": ("kilowatt", "kilowatts"),
    "kWh": ("kilowatt hour", "kilowatt hours"),
    "mAh": ("milliamp hour", "milliamp hours"),
    "dB": ("decibel", "decibels"),
    "fps": ("frame per second", "frames per second"),
    "px": ("pixel", "pixels"),
    "ms": ("millisecond", "milliseconds"),
    "sec": ("second", "seconds"),
    "secs": ("second", "seconds"),
    "min": ("minute", "minutes"),
    "mins": ("minute", "minutes"),
    "hr": ("hour", "hours"),
    "hrs": ("hour", "hours"),
    "°C": ("degree Celsius", "degrees Celsius"),
    "℃": ("degree Celsius", "degrees Celsius"),
    "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "℉": ("degree Fahrenheit", "degrees Fahrenheit"),
    "°": ("degree", "degrees"),
}
# One letter is a unit only when it touches its number.
_TIGHT_UNITS = {
    "m": ("meter", "meters"),
    "s": ("second", "seconds"),
    "h": ("hour", "hours"),
    "g": ("gram", "grams"),
    "L": ("liter", "liters"),
    "l": ("liter", "liters"),
    "W": ("watt", "watts"),
    "V": ("volt", "volts"),
    "x": ("time", "times"),
    "k": ("thousand", "thousand"),
}


def _alternatives(names: dict[str, tuple[str, str]]) -> str:
    return "|".join(re.escape(name) for name in sorted(names, key=len, reverse=True))


_SIGN = "|".join(re.escape(sign) for sign in sorted(_CURRENCIES, key=len, reverse=True))
MONEY = re.compile(rf"({_SIGN})\s?({_NUMBER}){_SCALE}(?![\w])")
MONEY_AFTER = re.compile(rf"(?<![\w.])({_NUMBER})\s?([$£€¥￥])(?!\d)")
MONEY_CODE = re.compile(
    rf"(?<!\w)(?:({'|'.join(_CURRENCY_CODES)})\s?({_NUMBER})|({_NUMBER})\s?({'|'.join(_CURRENCY_CODES)}))\b"
)
PERCENT = re.compile(rf"(?<![\w.])([-−+]?)({_NUMBER})\s?(%|‰)")
UNIT = re.compile(
    rf"(?<![\w.])([-−]?)({_NUMBER})"
    rf"(?:[ -]?({_alternatives(_UNITS)})|({_alternatives(_TIGHT_UNITS)}))(?![A-Za-z0-9])"
)
RANGE = re.compile(rf"(?<![\w.-])({_NUMBER})\s?[-–—~]\s?({_NUMBER})(?![\w-])")
THOUSANDS = re.compile(
    r"(?<![\w.])(\d{2,3}(?:\.\d+)?)(K)\b|(?<![\w.])(\d{1,3}(?:\.\d+)?)(M)(?= [a-z])"
)
FEET = re.compile(r"(?<!\w)(\d)'(\d{1,2})(?!\w)")
ALWAYS = re.compile(r"(?<!\w)24/7(?!\w)")
POWER = re.compile(r"(?<=\w)[²³]")
FRACTION = re.compile(r"(?<![\w/.])(\d{1,3})/(\d{1,3})(?![\w/])")
ORDINAL = re.compile(r"(?<![\w.])(\d{1,3}(?:,\d{3})+|\d+)(?:st|nd|rd|th)\b")
NUMBERED = re.compile(r"(?:\bNo\.\s?|(?<!\w)#\s?)(?=\d)")
GROUPED = re.compile(r"(?<![\w.,])(\d{1,3}(?:,\d{3})+(?:\.\d+)?)(?![\w]|,\d)")
NEGATIVE = re.compile(r"(?:(?<=\s)|^)[-−](?=\d)")
OPERATOR = re.compile(
    r"(?<=[\w)])\s*([=×÷<>])\s*(?=[\w(-])|(?<=\d)\s+([+*/−-])\s+(?=\d)|(?<=\d)\s?(\+)(?!\w)"
)
_OPERATORS = {
    "=": "equals",
    "×": "times",
    "*": "times",
    "÷": "divided by",
    "/": "divided by",
    "<": "is less than",
    ">": "is greater than",
    "+": "plus",
    "-": "minus",
    "−": "minus",
}


def number_words(text: str) -> str:
    """Return "1,234.5" as words, never as a year."""
    return decimal(text.replace(",", ""))


def read_money(match: re.Match[str]) -> str:
    """Read $3.50 as "three dollars and fifty cents", $1.5M as "one point five million dollars"."""
    sign, amount, scale, short = match.groups()
    if scale or short:
        return f"{number_words(amount)} {scale or _SCALES[short.lower()]} {_CURRENCIES[sign][1]}"
    return _money(amount, sign)


def read_money_after(match: re.Match[str]) -> str:
    """Read 5$ and 5€."""
    return _money(match.group(1), match.group(2))


def _money(amount: str, sign: str) -> str:
    one, many, cent, cents = _CURRENCIES[sign]
    whole, _, rest = amount.replace(",", "").partition(".")
    main, hundredths = int(whole or 0), int(rest.ljust(2, "0")) if len(rest) <= 2 else -1
    if not cent or hundredths < 0:
        return f"{number_words(amount)} {one if amount == '1' else many}"
    words = []
    if main or not hundredths:
        words.append(f"{cardinal(main)} {one if main == 1 else many}")
    if hundredths:
        words.append(f"{cardinal(hundredths)} {cent if hundredths == 1 else cents}")
    return " and ".join(words)


def read_money_code(match: re.Match[str]) -> str:
    """Read "USD 50" and "50 USD" as "fifty US dollars"."""
    amount = match.group(2) or match.group(3)
    return f"{number_words(amount)} {_CURRENCY_CODES[match.group(1) or match.group(4)]}"


def read_percent(match: re.Match[str]) -> str:
    """Read 50% and 3‰."""
    sign = {"": "", "+": "plus "}.get(match.group(1), "minus ")
    unit = "percent" if match.group(3) == "%" else "per thousand"
    return f"{sign}{number_words(match.group(2))} {unit}"


def read_unit(match: re.Match[str]) -> str:
    """Read 5km, 20 kg and -3°C."""
    sign, amount = "minus " if match.group(1) else "", match.group(2)
    one, many = _UNITS[match.group(3)] if match.group(3) else _TIGHT_UNITS[match.group(4)]
    return f"{sign}{number_words(amount)} {one if amount == '1' else many}"


def read_thousands(match: re.Match[str]) -> str:
    """Read 10K and 5M, counts of followers; 4K stays the name it is."""
    amount, unit = (match.group(1), "thousand") if match.group(2) else (match.group(3), "million")
    return f"{number_words(amount)} {unit}"


def read_feet(match: re.Match[str]) -> str:
    """Read a height, 5'11."""
    return f"{cardinal(int(match.group(1)))} foot {cardinal(int(match.group(2)))}"


def read_power(match: re.Match[str]) -> str:
    """Read a raised 2 or 3."""
    return " squared" if match.group() == "²" else " cubed"


def read_range(match: re.Match[str]) -> str:
    """Read 10-20 as "10 to 20"; the numbers are read by later rules."""
    return f"{match.group(1)} to {match.group(2)}"


def read_fraction(match: re.Match[str]) -> str | None:
    """Read 3/4 as "three fourths"."""
    numerator, denominator = int(match.group(1)), int(match.group(2))
    if denominator == 0 or numerator > 20 or denominator > 100:
        return f"{cardinal(numerator)} out of {cardinal(denominator)}" if denominator else None
    return fraction(numerator, denominator)


def read_ordinal(match: re.Match[str]) -> str:
    """Read 22nd."""
    return ordinal(int(match.group(1).replace(",", "")))


def read_grouped(match: re.Match[str]) -> str:
    """Read 1,234 as a number, not as a year."""
    return number_words(match.group(1))


def read_operator(match: re.Match[str]) -> str:
    """Read an arithmetic sign between operands."""
    sign = match.group(1) or match.group(2) or match.group(3)
    return f" {_OPERATORS[sign]} "

"""The ideographs, as they stand between the brackets of a regular expression.

Kana, Japanese iteration marks and punctuation are none; `marks` weighs characters by code instead.
"""

from __future__ import annotations

# What is written in practice: Unicode's first block of them and its first extension.
COMMON = "\u3400-\u4dbf\u4e00-\u9fff"
# Compatibility forms, names and classics: rules for spoken Chinese do not know them.
RARE = "\uf900-\ufaff\U00020000-\U0003134f"
ZERO = "〇"  # a digit that is written among them
HAN = COMMON + RARE + ZERO

"""Units of measurement after a number, as words."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache

_LATIN = re.compile("[A-Za-z]")

# Where wetext has no word, or another than the public frontend (km: 千米, not 公里).
_UNITS: Mapping[str, str] = {
    "mm": "毫米", "cm": "厘米", "dm": "分米", "m": "米", "km": "千米", "nm": "纳米",
    "μm": "微米", "um": "微米", "mm2": "平方毫米", "cm2": "平方厘米", "m2": "平方米",
    "km2": "平方千米", "cm3": "立方厘米", "m3": "立方米", "mg": "毫克", "g": "克",
    "kg": "千克", "t": "吨", "ml": "毫升", "mL": "毫升", "L": "升", "l": "升",
    "ms": "毫秒", "s": "秒", "min": "分钟", "h": "小时", "Hz": "赫兹", "kHz": "千赫",
    "MHz": "兆赫", "GHz": "吉赫", "V": "伏", "kV": "千伏", "W": "瓦", "kW": "千瓦",
    "MW": "兆瓦", "kWh": "千瓦时", "mAh": "毫安时", "mA": "毫安", "Ω": "欧姆",
    "dB": "分贝", "db": "分贝", "Pa": "帕", "kPa": "千帕", "MPa": "兆帕", "mmHg": "毫米汞柱",
    "kcal": "千卡", "cal": "卡", "J": "焦", "kJ": "千焦", "N": "牛", "rpm": "转每分钟",
    "km/h": "公里每小时", "in": "英寸", "ft": "英尺",
    "lb": "磅", "oz": "盎司", "mph": "英里每小时", "mi": "英里", "yd": "码", "mol": "摩尔",
    "ha": "公顷", "bar": "巴",
}  # fmt: skip
_LEFT_AS_LETTERS = frozenset(
    "KB MB GB TB PB Kb Mb Gb Kbps Mbps Gbps px fps bit pH Pro Max Plus Ultra mini Air SE".split()
)
_PLAIN = str.maketrans({"²": "2", "³": "3", "µ": "μ"})


def spoken_unit(unit: str) -> str | None:
    """Return the Chinese word of `unit` (`kg`, `m²`, `mg/L`), or None if there is none.

    A letter that means something else as often (5G, 4K, 3D, 2B) is not taken for a unit.
    """
    unit = unit.translate(_PLAIN)
    if unit in _UNITS:
        return _UNITS[unit]
    above, slash, below = unit.partition("/")
    if slash:
        parts = spoken_unit(above), spoken_unit(below)
        return f"{parts[0]}每{parts[1]}" if parts[0] and parts[1] else None
    if len(unit) == 1 or unit in _LEFT_AS_LETTERS:
        return None
    return _from_wetext(unit)


@lru_cache(maxsize=1024)
def _from_wetext(unit: str) -> str | None:
    """Return wetext's word for `unit`: its measure grammar knows the long tail."""
    import wetext

    spoken = wetext.normalize(f"3{unit}", lang="zh", operator="tn")
    if _LATIN.search(spoken) or not spoken.startswith("三"):
        return None
    return spoken[1:] or None

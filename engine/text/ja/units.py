"""How Japanese reads currencies and the abbreviations of units."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

CURRENCIES: Mapping[str, str] = MappingProxyType(
    {"¥": "円", "￥": "円", "$": "ドル", "€": "ユーロ", "£": "ポンド", "₩": "ウォン"}
)
UNITS: Mapping[str, str] = MappingProxyType(
    {
        "km/h": "キロメートル毎時", "m/s": "メートル毎秒",
        "km²": "平方キロメートル", "m²": "平方メートル", "㎡": "平方メートル", "m³": "立方メートル",
        "km": "キロメートル", "㎞": "キロメートル", "m": "メートル", "cm": "センチメートル",
        "㎝": "センチメートル", "mm": "ミリメートル", "㎜": "ミリメートル",
        "t": "トン", "kg": "キログラム", "㎏": "キログラム", "g": "グラム", "mg": "ミリグラム",
        "L": "リットル", "l": "リットル", "dL": "デシリットル",
        "mL": "ミリリットル", "ml": "ミリリットル",
        "TB": "テラバイト", "GB": "ギガバイト", "MB": "メガバイト", "KB": "キロバイト",
        "Gbps": "ギガビーピーエス", "Mbps": "メガビーピーエス",
        "GHz": "ギガヘルツ", "MHz": "メガヘルツ", "kHz": "キロヘルツ", "Hz": "ヘルツ",
        "kW": "キロワット", "W": "ワット", "kWh": "キロワット時", "V": "ボルト",
        "mAh": "ミリアンペアアワー",
        "kcal": "キロカロリー", "cal": "カロリー", "hPa": "ヘクトパスカル", "dB": "デシベル",
        "px": "ピクセル", "ppm": "ピーピーエム",
    }
)  # fmt: skip

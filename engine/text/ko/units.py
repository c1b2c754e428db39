"""Which words Korean counts with native numbers, and how it reads units and currencies."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

# Counters after native numbers; all other words take Sino-Korean ones.
NATIVE_COUNTERS = (
    "개(?!월|국|년)|명|마리|살|시간|권|잔|병|대|장|번|벌|채|송이|그루|켤레|쌍|군데|가지|사람|달|"
    "방울|통|발|척|자루|곡|판|끼|줄|조각|다발|배|모금|모|뭇|술|쌈|움큼|정|짝|첩|축|톨|접시|그릇|숟가락|"
    "바퀴|차례|걸음|봉지|상자|박스|캔|컵|스푼|포기|알|칸|건|팀|곳|학생|보루|닢"
)
# "3번 출구" names, "3번 만났다" counts.
NAMED_BY_NUMBER = "출구|버스|홈|국도|문제|타자|마을|창구|게이트|선수|채널|트랙"
CURRENCIES: Mapping[str, str] = MappingProxyType(
    {"₩": "원", "￦": "원", "$": "달러", "€": "유로", "£": "파운드", "¥": "엔", "￥": "엔"}
)
UNITS: Mapping[str, str] = MappingProxyType(
    {
        "km/h": "킬로미터", "m/s": "미터 퍼 세컨드", "km²": "제곱킬로미터", "m²": "제곱미터",
        "㎡": "제곱미터", "m³": "세제곱미터", "km": "킬로미터", "㎞": "킬로미터", "m": "미터",
        "cm": "센티미터", "㎝": "센티미터", "mm": "밀리미터", "㎜": "밀리미터",
        "t": "톤", "kg": "킬로그램", "㎏": "킬로그램", "g": "그램", "mg": "밀리그램",
        "L": "리터", "l": "리터", "mL": "밀리리터", "ml": "밀리리터",
        "TB": "테라바이트", "GB": "기가바이트", "MB": "메가바이트", "KB": "킬로바이트",
        "Gbps": "기가비피에스", "Mbps": "메가비피에스",
        "GHz": "기가헤르츠", "MHz": "메가헤르츠", "kHz": "킬로헤르츠", "Hz": "헤르츠",
        "kWh": "킬로와트시", "kW": "킬로와트", "W": "와트", "V": "볼트", "kcal": "킬로칼로리",
        "cal": "칼로리", "hPa": "헥토파스칼", "dB": "데시벨",
    }
)  # fmt: skip

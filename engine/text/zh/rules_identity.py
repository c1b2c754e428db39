"""Numbers that name instead of count: telephones, orders, codes, versions, addresses.

They are read digit by digit, the way a call centre reads them back: 幺 for 1, and a breath between
the groups of a telephone number.
"""

from __future__ import annotations

import re

from engine.text.zh.numbers import cardinal, digits, number
from engine.text.zh.rules import MEASURES, Rule, rule

_KEYWORDS = (
    "订单号?|单号|编号|卡号|账号|帐号|账户|身份证号?码?|证件号码?|护照号?码?|验证码|校验码|取件码|取货码|"
    "兑换码|邀请码|提货码|工号|尾号|房间号?|房号|门牌号?|车牌号?|车次|航班号?|学号|考号|座位号|密码|口令|"
    "邮编|邮政编码|批号|序列号|快递单?|运单|工单|流水号|发票号码?|合同号|型号|货号|股票代码|代码|"
    "号码|群号|QQ号?|QQ|微信号?|(?<![A-Za-z])[iI][dD]|热线|客服|电话|手机号?码?|座机|分机号?|拨打|致电"
)
_LINK = r"(?:(?:号码?|是|为|码|一下|[:：，,\s#“\"'‘【（(])){0,4}"
_AMOUNT_BEFORE = frozenset("第约共达到过逾近比乘加减除满超仅只有了得")
_TOKEN = re.compile(r"[A-Za-z]+|\d+")
_AMOUNT_AFTER = f"(?![A-Za-z\\d]|[%％‰℃°]|\\.\\d|(?:多|余|几)?(?:{MEASURES}))"


def _spell(text: str) -> str:
    """Read letters as they are and digits one by one, without the marks between."""
    parts = [digits(t, telephone=True) if t.isdigit() else t for t in _TOKEN.findall(text)]
    return "".join(parts)


def _after_keyword(match: re.Match[str]) -> str | None:
    keyword, code = match.group("before"), match.group("code")
    if not any(c.isdigit() for c in code):
        return None
    return keyword + _spell(code)


def _groups(*groups: str) -> str:
    return ",".join(digits(group, telephone=True) for group in groups if group)


def _mobile(match: re.Match[str]) -> str:
    return _groups("86" if match["country"] else "", match["a"], match["b"], match["c"])


def _landline(match: re.Match[str]) -> str:
    subscriber = match["subscriber"].replace("-", "").replace(" ", "")
    return _groups(match["area"], subscriber[:-4], subscriber[-4:], match["extension"] or "")


def _hotline(match: re.Match[str]) -> str:
    return _groups(match[1], match[2], match[3])


def _version(match: re.Match[str]) -> str:
    parts = match[2].split(".")
    is_address = len(parts) == 4 and all(int(part) < 256 for part in parts)
    say = digits if is_address else cardinal
    return match[1] + "点".join(say(part) for part in parts)


def _mail(match: re.Match[str]) -> str:
    return match[0].replace("@", "艾特").replace(".", "点").replace("_", "下划线")


def _mixed(match: re.Match[str]) -> str:
    """Letters and digits in one word: A1024 by digits, iPhone15 and G20 as numbers."""

    def say(part: str) -> str:
        if not part.isdigit():
            return part
        short = len(part) <= 2 and not part.startswith("0")
        return cardinal(part) if short else digits(part, telephone=True)

    return "".join(say(part) for part in _TOKEN.findall(match[0]))


def _bare(match: re.Match[str]) -> str | None:
    """A run of digits nothing counts: 528 and 829301 are names, 300 and 100000 are amounts."""
    run, before = match[0], match.string[: match.start()]
    if run.startswith("0"):
        return digits(run, telephone=True)
    is_round = run.endswith("00" if len(run) < 5 else "000") and len(run) <= 9
    if is_round or (before and before[-1] in _AMOUNT_BEFORE and len(run) < 8):
        return None
    return digits(run, telephone=True)


WEB_RULES: tuple[Rule, ...] = (
    rule(
        r"(?:https?|ftp)://(?:www\.)?(?P<host>[A-Za-z0-9.-]+)[A-Za-z0-9./?=&%#_~:+,;@!$*-]*"
        r"|www\.(?P<host2>[A-Za-z0-9.-]+)(?:/[A-Za-z0-9./?=&%#_~:+,;@!$*-]*)?",
        lambda m: (m["host"] or m["host2"]).strip(".-").replace(".", "点"),
    ),
    rule(r"[A-Za-z0-9._-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+", _mail),
)

IDENTITY_RULES: tuple[Rule, ...] = (
    rule(
        r"(?<![\d+])(?P<country>\+?86[- ]?)?(?P<a>1[3-9]\d)[- ]?(?P<b>\d{4})[- ]?(?P<c>\d{4})"
        + _AMOUNT_AFTER,
        _mobile,
    ),
    rule(r"(?<!\d)([48]00)-?(\d{3})-?(\d{4})(?!\d)", _hotline),
    rule(r"(?<!\d)([48]00)-(\d{4})-(\d{3})(?!\d)", _hotline),
    rule(
        r"(?<!\d)(?:\(|（)?(?P<area>0(?:10|2\d|[3-9]\d{2}))(?:\)|）|-| )?"
        r"(?P<subscriber>[1-9]\d{3}[- ]?\d{3,4})(?:(?:-|转)(?P<extension>\d{1,5}))?(?!\d)",
        _landline,
    ),
    rule(
        r"(?<![\d.])\d{4}(?: \d{4}){2,}(?: \d{1,4})?(?![\d.])",  # as on a bank card
        lambda m: _groups(*m[0].split(" ")),
    ),
    rule(r"(?<![\d.])\d(?: \d){3,}(?! ?[\d.])", lambda m: _spell(m[0])),
    rule(r"(?<![\d.])\d{3,4}(?=室|房(?!间|屋|子)|号房|号包厢)", lambda m: _spell(m[0])),
    rule(
        rf"(?P<before>(?:{_KEYWORDS}){_LINK})"
        rf"(?P<code>(?:[A-Za-z]*\d|[A-Za-z]{{1,6}}-?\d)[A-Za-z0-9]*(?:-[A-Za-z0-9]+)*)"
        rf"(?!\.\d){_AMOUNT_AFTER}",
        _after_keyword,
    ),
    # Public services: 10086, 95588, 12306 ...
    rule(
        r"(?<![\d.])(?:12345|123\d\d|100(?:00|10|86)|95\d{3}|96\d{3,4}|11[0249]|12[02])"
        r"(?![\d.])(?=报警|急救|热线|客服|电话|投诉|举报|平台|火警)",
        lambda m: digits(m[0], telephone=True),
    ),
    rule(
        rf"(?<![\d.])(?:100(?:00|10|86)|12306|12315|12345|12348|95\d{{3}}){_AMOUNT_AFTER}",
        lambda m: digits(m[0], telephone=True),
    ),
    rule(
        r"(?P<before>(?:打|拨|呼叫))(?P<code>\d{3,6})" + _AMOUNT_AFTER,
        _after_keyword,
    ),
    rule(r"(?<![A-Za-z\d.])([vV]?)(\d+(?:\.\d+){2,})(?![\d.])", _version),
)

# After quantities: 64GB and 5kg have been read by then.
MIXED_RULES: tuple[Rule, ...] = (
    rule(
        r"(?<![A-Za-z\d.])(\d+(?:\.\d+)?)(?=\s?(?:[KMGTP]B|[KMG]bps|[GT](?![A-Za-z\d])|px|fps|bit))",
        lambda m: number(m[1]),
    ),
    rule(r"(?<=[A-Za-z])\.(?=\d)", lambda m: " "),  # No.5
    rule(r"(?<=[A-Za-z])\d+\.\d+(?!\d)", lambda m: number(m[0])),
    rule(
        r"(?<![A-Za-z\d.])(?:[A-Za-z]+(?:-(?=\d))?\d|\d+[A-Za-z])[A-Za-z\d]*(?:-[A-Za-z\d]+)*",
        _mixed,
    ),
    rule(rf"(?<![\d.])(?:\d{{3,}}|0\d){_AMOUNT_AFTER}", _bare),
)

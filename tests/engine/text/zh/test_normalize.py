"""Chinese text as it is spoken."""

from __future__ import annotations

import pytest

from engine.text.mapped import MappedText
from engine.text.spoken import DigitStyle
from engine.text.zh.normalize import normalize


def _say(text: str, digits: DigitStyle = DigitStyle.AUTO) -> str:
    return normalize(MappedText.of(text), digits=digits).text


@pytest.mark.parametrize(
    ("raw", "spoken"),
    [
        ("一共19.9元", "一共十九点九元"),
        ("售价¥3,000.50", "售价三千点五元"),
        ("$99.99或€20", "九十九点九九美元或二十欧元"),
        ("$5美元", "五美元"),
        ("￥3.5万起", "三点五万元起"),
        ("人口1,234,567人", "人口一百二十三万四千五百六十七人"),
        ("2个人，2000元，2万，2两，200元", "两个人,两千元,两万,二两,二百元"),
        ("第2个，2月2日，2楼2班，2年级", "第二个,二月二日,二楼二班,二年级"),
        ("10多万人，20余个，100+款", "十多万人,二十余个,一百多款"),
        ("3.5亿，0.5，.5，-1", "三点五亿,零点五,零点五,负一"),
        ("1米75，1米8", "一米七五,一米八"),
        ("10元/斤，5个/天", "十元每斤,五个每天"),
    ],
)
def test_amounts(raw: str, spoken: str) -> None:
    """Money and counts are read as amounts, 2 as 两 where it counts something."""
    assert _say(raw) == spoken


@pytest.mark.parametrize(
    ("raw", "spoken"),
    [
        ("35%，12.5%，-3.2%，5‰", "百分之三十五,百分之十二点五,负百分之三点二,千分之五"),
        ("10%-20%，10~20%", "百分之十到百分之二十,百分之十到百分之二十"),
        ("1/2的人，3/4", "二分之一的人,四分之三"),
        ("-5℃，12.5°C，26度", "零下五度,十二点五度,二十六度"),
        ("-5~3℃", "零下五到三度"),
        ("3-5天，10~20个，1-2次，第2-3页", "三到五天,十到二十个,一到两次,第二到三页"),
        ("以3-1获胜", "以三比一获胜"),
        ("2.5万元-3万元", "二点五万元到三万元"),
        ("1+1=2，3×4=12，10÷2=5", "一加一等于二,三乘四等于十二,十除以二等于五"),
        ("7x24小时", "七乘二十四小时"),
    ],
)
def test_ratios_ranges_and_sums(raw: str, spoken: str) -> None:
    """Signs between numbers are words, which word the neighbours say."""
    assert _say(raw) == spoken


@pytest.mark.parametrize(
    ("raw", "spoken"),
    [
        ("5kg，120km/h，3m²", "五千克,一百二十公里每小时,三平方米"),
        ("220V，50Hz，60dB", "二百二十伏,五十赫兹,六十分贝"),
        ("5mg/L，3m/s，20ft", "五毫克每升,三米每秒,二十英尺"),
        ("64GB内存，256GB，1TB", "六十四GB内存,二百五十六GB,一TB"),
        ("5G网络，4K屏", "五G网络,四K屏"),
    ],
)
def test_units(raw: str, spoken: str) -> None:
    """Units have Chinese words; what is said in letters stays in letters."""
    assert _say(raw) == spoken


@pytest.mark.parametrize(
    ("raw", "spoken"),
    [
        ("2024年3月15日", "二零二四年三月十五日"),
        ("2024-03-15，2024/3/5", "二零二四年三月十五日,二零二四年三月五日"),
        ("于2024.3.5到期", "于二零二四年三月五日到期"),
        ("从08年到2010年，86年生", "从零八年到二零一零年,八六年生"),
        ("用了10年，5000年历史", "用了十年,五千年历史"),
        ("1990-2000年，90年代，80后", "一九九零到二零零零年,九十年代,八零后"),
        ("3月1日-5日", "三月一日到五日"),
        ("下午3:30开会，08:05出发，2:00", "下午三点半开会,八点零五分出发,两点"),
        ("13:45-15:00，12:00:30", "十三点四十五分至十五点,十二点零分三十秒"),
        ("比分3:2，比分是30:28，16:9", "比分三比二,比分是三十比二十八,十六比九"),
        ("2点见，2点5分", "两点见,两点五分"),
    ],
)  # fmt: skip
def test_dates_times_and_scores(raw: str, spoken: str) -> None:
    """Years are read digit by digit, spans of years as amounts, scores with 比."""
    assert _say(raw) == spoken


@pytest.mark.parametrize(
    ("raw", "spoken"),
    [
        ("订单号A1024", "订单号A幺零二四"),
        ("订单号是A1024，快递单号为SF1234567", "订单号是A幺零二四,快递单号为SF幺二三四五六七"),
        ("身份证号110101199003071234", "身份证号幺幺零幺零幺幺九九零零三零七幺二三四"),
        ("验证码829301，验证码是 8 2 9 1 0 1", "验证码八二九三零幺,验证码是八二九幺零幺"),
        ("编号00781，尾号0012", "编号零零七八幺,尾号零零幺二"),
        ("电话13812345678", "电话幺三八,幺二三四,五六七八"),
        ("+86 139 1234 5678", "八六,幺三九,幺二三四,五六七八"),
        (
            "010-88886666，0755-1234567转801",
            "零幺零,八八八八,六六六六,零七五五,幺二三,四五六七,八零幺",
        ),
        ("400-820-8820，4008208820", "四零零,八二零,八八二零,四零零,八二零,八八二零"),
        ("拨打110报警，打120，请拨10086", "拨打幺幺零报警,打幺二零,请拨幺零零八六"),
        ("卡号6222 0202 0000 1234 567", "卡号六二二二,零二零二,零零零零,幺二三四,五六七"),
        ("3号楼2层208室", "三号楼两层二零八室"),
        ("莫泰168，价格2899", "莫泰幺六八,价格二八九九"),
        ("奖金100000，满200减30，共128", "奖金十万,满二百减三十,共一百二十八"),
        ("密码6位，客服24小时在线", "密码六位,客服二十四小时在线"),
        ("v1.2.3，iOS 17.5.1，版本2.0", "v一点二点三,iOS十七点五点一,版本二点零"),
        ("IP 192.168.1.1", "IP一九二点一六八点一点一"),
        ("A4纸、B2B、GPT-4、G20、MP3、PM2.5", "A四纸,B二B,GPT四,G二十,MP三,PM二点五"),
    ],
)
def test_names_made_of_digits(raw: str, spoken: str) -> None:
    """Telephones, orders, codes and versions are read back as a call centre would."""
    assert _say(raw) == spoken


@pytest.mark.parametrize(
    ("raw", "spoken"),
    [
        ("见https://www.example.com/a?b=1。", "见example点com."),
        ("发到ab@mail.com", "发到ab艾特mail点com"),
        ("“好的。”（笑）——真的吗？！", "好的.笑真的吗?"),
        ("等等……好吧~", "等等…好吧…"),
        ("注意:是;的", "注意,是,的"),
        ("北京-上海，周一-周五", "北京,上海,周一到周五"),
        ("**重点**：#话题# @小明", "重点,话题小明"),
        ("👍好的😀", "好的"),
        ("①苹果Ⅳ级", "一苹果四级"),
        ("ＡＢＣ１２３４５，５０％", "ABC幺二三四五,百分之五十"),
        ("這個計劃裡面有問題", "这个计划里面有问题"),
        ("嗯，好兙的", "恩,好的"),
        ("用 iPhone 15 Pro 拍", "用iPhone十五Pro拍"),
        ("It's rock-n-roll 时间", "It's rock n roll时间"),
        ("", ""),
        ("！！！", "!"),
    ],
)
def test_signs_and_foreign_text(raw: str, spoken: str) -> None:
    """Marks end up in the inventory, never two in a row; what cannot be said is dropped."""
    assert _say(raw) == spoken


def test_digit_styles() -> None:
    """The caller can ask for digits or amounts where the context does not decide."""
    raw = "编号829301，共1234"
    assert _say(raw) == "编号八二九三零幺,共一千二百三十四"
    assert _say(raw, DigitStyle.READ) == "编号八二九三零幺,共幺二三四"
    assert _say(raw, DigitStyle.CARDINAL) == "编号八十二万九千三百零一,共一千二百三十四"
    assert _say("19.9元，3月5日", DigitStyle.READ) == "十九点九元,三月五日"


def test_comma_between_numbers_is_no_thousands_separator() -> None:
    """Regression: wetext joins 102，1002，10010 into one number of a hundred billion."""
    assert _say("102，1002，10010个") == "幺零二,幺零零二,一万零一十个"


def test_what_stays_keeps_its_place() -> None:
    """Only the replaced characters point at the whole match; the others at themselves."""
    said = normalize(MappedText.of("订单号是A1024。"))
    assert list(zip(said.text, said.starts, said.ends, strict=True))[4:7] == [
        ("A", 4, 5),
        ("幺", 5, 9),
        ("零", 5, 9),
    ]

"""The same fact in two notations has one value; a word that only looks like a number is none."""

from fractions import Fraction

import pytest

from app.safety.calendar import Date
from app.safety.facts import Kind
from app.safety.numbers import find_facts


def read(text):
    return [(text[fact.start : fact.end], fact.kind, fact.value, fact.unit) for fact in find_facts(text)]


def values(text):
    return [(fact.kind, fact.value, fact.unit) for fact in find_facts(text)]


@pytest.mark.parametrize(
    "notations",
    [
        ("5元", "¥5", "￥5", "RMB 5", "5 yuan", "五元", "５元", "5块", "five yuan"),
        ("250元", "两百五十元", "两百五元", "250.00 yuan", "RMB250"),
        ("1,200元", "一千二元", "1200元", "¥1,200", "1.2千元", "一点二千元"),
        ("15000元", "1.5万元", "一点五万元", "¥15,000"),
        ("30分钟", "半小时", "半个小时", "三十分钟", "30 minutes", "half an hour", "30-minute", "thirty minutes"),
        ("1小时30分钟", "一个半小时", "90分钟", "1.5小时", "1 hour 30 minutes", "1.5 hours"),
        ("30%", "３０％", "百分之三十", "30 percent", "thirty per cent"),
        ("两次", "2次", "twice", "2 times"),
        ("半年", "6个月", "six months", "六个月"),
        ("22:00", "晚上10点", "10 pm", "10 p.m.", "晚10点整", "10:00 PM", "２２：００", "22点", "ten pm"),
        ("上午8:30", "8:30 a.m.", "早上8点半", "8:30", "8:30 in the morning"),
        ("8点半", "half past eight", "八点半", "八点三十分"),
        ("11月25日", "25 November", "Nov 25", "November 25th", "十一月二十五日", "25 Nov."),
        ("2026-11-25", "2026年11月25日", "25 November 2026", "Nov 25, 2026", "2026/11/25", "二〇二六年十一月二十五日"),
        ("周一至周五", "星期一到星期五", "Monday to Friday", "Mon-Fri", "工作日"),
        ("0700-8800-1020", "0700 8800 1020", "(0700) 8800 1020"),
        ("138 1234 5678", "13812345678", "+86 138-1234-5678"),
        ("二楼", "2层", "second floor", "2楼"),
        ("9号楼", "9栋", "Building 9", "九栋"),
        ("八五折", "85折", "85%"),
        ("三分之一", "one third"),
        ("退一半", "half", "50%", "半价"),
        ("2平方米", "两平米", "2 square metres", "2㎡"),
    ],
    ids=lambda notations: notations[0],
)
def test_notations_of_one_fact_have_one_value(notations):
    expected = values(notations[0])
    assert len(expected) == 1
    for notation in notations[1:]:
        assert values(notation) == expected, notation


@pytest.mark.parametrize(
    "text",
    [
        "请一起来看一下，一般没有问题，万一不行再说",
        "第一，第三方，三方协议，统一管理，唯一入口，之一",
        "扫二维码，十分感谢，千万别，四处看看，一部分，一方面",
        "请带一张照片和一个水桶",
        "早一点来，等一会儿",
        "五一假期和十一长假",
        "以下三点：这两项都要",
        "one of them, no one, once you have signed, the one who",
        "1. 带钥匙\n2、关水阀\n3）锁门\n（4）开灯\n① 关窗 ②关门\n一、说明",
        "见[1]、[2, 3]和【4】",
        "please wait a second",
    ],
)
def test_words_and_markers_are_no_numbers(text):
    assert read(text) == []


def test_a_bare_list_takes_the_unit_it_is_listed_with():
    assert [(fact.value, fact.unit) for fact in find_facts("6、7、8栋；4-7岁；8至12元")] == [
        *((Fraction(n), "building") for n in (6, 7, 8)),
        *((Fraction(n), "year of age") for n in (4, 7)),
        *((Fraction(n), "yuan") for n in (8, 12)),
    ]


def test_ranges_share_the_month_and_the_half_of_the_day():
    assert [fact.value for fact in find_facts("2026年11月25日至27日")] == [Date(2026, 11, 25), Date(2026, 11, 27)]
    assert [fact.value for fact in find_facts("25-27 November")] == [Date(None, 11, 25), Date(None, 11, 27)]
    first, second = find_facts("2:00-5:30 pm")
    assert first.value == {2 * 60, 14 * 60}
    assert second.value == {17 * 60 + 30}


def test_pairs_of_digits_mean_either():
    assert [fact.value for fact in find_facts("两三天")] == [2 * 1440, 3 * 1440]


def test_a_section_number_is_not_an_amount_but_hours_at_the_start_of_a_line_are():
    assert read("3.1 开放时间") == []
    assert read("[2] 3.1 开放时间") == []
    assert read("1.2 包裹免费保管") == []
    assert values("3.5 hours is the limit") == [(Kind.NUMBER, Fraction(210), "minute")]


def test_links_and_codes():
    assert values("https://www.linli.cn/pay，ask@linli.cn，B1层，LF-07") == [
        (Kind.LINK, "linli.cn/pay", ""),
        (Kind.LINK, "ask@linli.cn", ""),
        (Kind.CODE, "B1", ""),
        (Kind.CODE, "LF07", ""),
    ]


def test_places_point_into_the_text():
    text = "首行\n第二辆车每月３６０元。晚上１０点关门"
    assert [text[fact.start : fact.end] for fact in find_facts(text)] == ["二辆车", "３６０元", "晚上１０点"]


def test_a_phone_at_the_end_of_an_english_sentence_is_one_phone():
    found = [(fact.kind, fact.value) for fact in find_facts("Questions: 021-5555 0100. It costs 12345678.5 yuan.")]
    assert (Kind.PHONE, "02155550100") in found
    assert [kind for kind, _ in found].count(Kind.PHONE) == 1


@pytest.mark.parametrize("nonsense", ["三点百元", "一点二亿亿元", "三点十万元", "百分之三点千"])
def test_what_only_looks_like_a_decimal_is_read_as_far_as_it_goes(nonsense: str):
    """It ended the answer it stood in."""
    assert find_facts(nonsense)

"""No number reaches a resident that no passage has, also not for a moment while the answer is written."""

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.safety.grounding import (
    GroundedStream,
    check_grounded,
    echoes_question,
    repeats,
    says_not_found,
    wrong_language,
)
from app.safety.streaming import strip_links

PARKING = "超过30分钟的，自进场起按每小时5元收费，不足1小时按1小时计，24小时内最高40元。访客车辆过夜（22:00至次日7:00）10元包夜。"
OUTAGE = "2026年11月26日（星期四）8:00-14:00停水，请在11月25日18:00前拨打0700-8800-1000登记，周一至周五办公，每户2桶。"
POOL = "Tuesday to Sunday 6:30-9:00 and 14:00-21:30. Adult resident | 30 yuan. Children under 14 come with an adult. Half is refunded. Book at https://book.linli.cn or ask@linli.cn."
SOURCES = (PARKING, OUTAGE, POOL)


@pytest.mark.parametrize(
    "answer",
    [
        "每小时5元，一天最高40元[1]。",
        "5 yuan per hour, at most RMB 40 in 24 hours.",
        "晚上10点到早上7点包夜十元。",
        "overnight (10 pm to 7 a.m.) 10 yuan",
        "停水时间是26 November 2026, 8 am to 2 pm, Thursday",
        "请在11月25日下午6点前打07008800 1000",
        "半小时以内免费？超过半小时才收费",
        "1. 每户两桶\n2. 周一到周五办公\n3. 周三也可以",
        "Half of it (50%) is refunded; the pool is closed before 6:30 a.m.",
        "14岁以下要有大人陪同，成人30元，周日21:30关",
        "网址 book.linli.cn，邮箱 ask@linli.cn",
        "2026年的安排",
    ],
)
def test_what_the_sources_say_in_any_notation_is_grounded(answer):
    assert check_grounded(answer, SOURCES) == []


@pytest.mark.parametrize(
    ("answer", "wrong"),
    [
        ("停3小时一共15元", ["3小时", "15元"]),
        ("最高40小时", ["40小时"]),
        ("早上10点开始", ["早上10点"]),
        ("open until 10 am", ["10 am"]),
        ("11月27日停水", ["11月27日"]),
        ("2027年11月26日停水", ["2027年11月26日"]),
        ("请打0700-8800-1001", ["0700-8800-1001"]),
        ("周末才办公，周六不休，周一见", ["周末"]),
        ("twenty-five yuan", ["twenty-five yuan"]),
        ("打八折", ["八折"]),
        ("见 http://evil.example.com/a", ["http://evil.example.com/a"]),
        ("B2层", ["B2"]),
        ("三百元", ["三百元"]),
    ],
)
def test_what_no_source_says_is_named(answer, wrong):
    sources = SOURCES if "周末" not in answer else (PARKING, "周一至周六办公")
    assert [found.text for found in check_grounded(answer, sources)] == wrong


def stream(pieces, sources=SOURCES):
    grounded = GroundedStream(sources)
    return [*(grounded.push(piece) for piece in pieces), grounded.finish()], grounded


def test_plain_words_are_shown_at_once():
    pieces = ["您好", "，", "可以", "登记", "访客", "车牌", "。", "Sure", ", you can", " register"]
    shown, _ = stream(pieces)
    assert shown[:-1] == pieces


def test_a_number_is_held_until_it_is_whole_and_no_longer():
    shown, _ = stream(["按每小时", "5", "元", "收费", "，", "谢谢"])
    assert shown == ["按每小时", "", "", "5元收费", "，", "谢谢", ""]


def test_nothing_is_shown_from_the_clause_of_a_wrong_number_on():
    shown, grounded = stream(["可以停车，", "三小时", "要15", "元，", "欢迎", "光临"])
    assert "".join(shown) == "可以停车，"
    assert [found.text for found in grounded.ungrounded] == ["三小时"]
    assert grounded.answer == "可以停车，三小时要15元，欢迎光临"


def test_a_number_at_the_end_is_checked_by_finish():
    assert "".join(stream(["最高", "4", "0"])[0]) == "最高40"
    assert "".join(stream(["最高", "4", "8"])[0]) == "最高"


def test_images_and_link_targets_of_the_model_are_never_shown():
    answer = "见[这里](http://evil.cn/?q=1)，![图](http://evil.cn/x.png)<img src=x>完。"
    for size in (1, 2, 5, 100):
        shown, grounded = stream([answer[at : at + size] for at in range(0, len(answer), size)])
        assert "".join(shown) == "见这里，完。"
        assert not grounded.stopped
    assert strip_links("[![a](b)](http://c) [1] a < b") == " [1] a < b"


PIECES = st.sampled_from(
    [
        *("停车", "每小时", "您好", "，", "。", "\n", "、", " ", "请", "一起", "一", "三", "点", "半", "晚上", "周", "末", "个", "小时"),
        *("5", "元", "40", "0", "30分钟", "22:00", "7", ":", "-", "至", "11月25日", "26", "日", "%", "0700-8800-1000", "2", "桶"),
        *("pm", " a.m.", "8", " to ", "thirty", " yuan", "half", " an hour", "Sunday", " twice", ".", "1. ", "[1]", "①", "(", ")"),
        *("十", "百", "两", "万", "分", "钟", "块", "B", "a", "book.linli.cn", "www.", "November ", "th", " and a half", "折", "第", "[", "](", "!"),
    ]
)  # fmt: skip
NUMERAL = re.compile(r"[\d零一二两三四五六七八九十百千万半]")


@settings(max_examples=600, deadline=None)
@given(st.lists(PIECES, max_size=25).map("".join), st.lists(st.integers(1, 6), min_size=1, max_size=12))
def test_any_split_shows_a_prefix_without_an_ungrounded_number(answer, sizes):
    pieces, at, turn = [], 0, 0
    while at < len(answer):
        pieces.append(answer[at : at + sizes[turn % len(sizes)]])
        at, turn = at + sizes[turn % len(sizes)], turn + 1
    parts, grounded = stream(pieces)
    shown, clean = "".join(parts), strip_links(answer)
    assert clean.startswith(shown)
    wrong = check_grounded(clean, SOURCES)
    for found in wrong:
        # The mark before a number (“晚上”) may be on the screen already; no figure of it is.
        assert not NUMERAL.search(shown[found.start : found.end]), (found, shown)
    assert bool(wrong) == grounded.stopped
    if not wrong:
        assert shown == clean


@settings(max_examples=300, deadline=None)
@given(st.text(alphabet="停车位请先登记，。 abcxyz\n", max_size=60), st.integers(1, 5))
def test_text_without_numbers_passes_unchanged(answer, size):
    shown, grounded = stream([answer[at : at + size] for at in range(0, len(answer), size)])
    assert "".join(shown) == answer
    assert not grounded.stopped


@pytest.mark.parametrize(
    "answer",
    [
        "抱歉，资料中没有提到这个问题。",
        "根据提供的资料，无法确定。",
        "没有找到相关信息。",
        "文中未说明具体金额，建议咨询物业。",
        "我不清楚这件事。",
        "对不起，我无法回答。",
        "目前没有关于马场的规定。",
        "The information is not provided in the text.",
        "The documents do not mention this.",
        "Sorry, I don't know.",
        "There is no information about that in the passages.",
    ],
)
def test_refusals_of_the_model_are_recognised(answer):
    assert says_not_found(answer)


@pytest.mark.parametrize(
    "answer",
    [
        "每小时5元。",
        "不可以在楼道停放。",
        "The pool is closed on Mondays.",
        "材料费不包含在内，人工费30元。",
        "未提供身份证的不能办理。",
        "如果您不确定，请拨打热线。",
        "未登记的车辆每小时5元。",
        "不能在楼道停放电动车。",
        "没有门禁卡的访客由门岗登记。",
        "Pets are not included in the count.",
        "You need not pay if you do not live here.",
    ],
)
def test_plain_answers_are_no_refusals(answer):
    assert not says_not_found(answer)


def test_echoes():
    assert echoes_question("请问停车费是多少钱？", "停车费是多少钱")
    assert echoes_question("停车费多少钱？", "停车费是多少钱")
    assert echoes_question("物业费是否开增值税专票？", "物业费能不能开增值税专票")
    assert echoes_question("Yes, you offer swimming lessons for adults.", "Do you offer swimming lessons for adults?")
    assert not echoes_question("访客车一个月能登记10回。", "访客车一个月能登记几回")
    assert not echoes_question("三期不能封阳台。", "三期能封阳台吗")
    assert echoes_question("三期能封阳台。", "三期能封阳台吗")
    assert not echoes_question("40元。", "停车一天最高是40元吗？")
    assert not echoes_question("停车费每小时5元，一天最高40元。", "停车费是多少钱")


def test_instructions_given_back_are_no_answer():
    told = "Answer from the documents. The conclusion first, then the numbers, times and places that matter. 只根据资料回答，先说结论，再说关键的数字和条件。"
    assert repeats("The conclusion first, then the numbers, times and places that matter.", told)
    assert repeats("只根据资料回答，先说结论，再说关键的数字和条件。", told)
    assert not repeats("The conclusion is that parking costs five yuan an hour for cars of visitors.", told)
    assert not repeats("先说结论：每小时5元。", told)


def test_language():
    assert wrong_language("The fee is five yuan per hour.", "zh")
    assert wrong_language("停车费每小时五元。", "en")
    assert not wrong_language("The hotline of Wanglan Court (望澜苑) is open all day.", "en")
    assert not wrong_language("WiFi和APP都可以用", "zh")
    assert not wrong_language("40", "zh")


DOCUMENTS = sorted((Path(__file__).parents[2] / "app" / "practice" / "documents").glob("*.md"))


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.stem)
def test_a_document_read_aloud_is_grounded_in_itself(document):
    text = document.read_text()
    assert check_grounded(text, [text]) == []
    shown, _ = stream([text[at : at + 7] for at in range(0, len(text), 7)], [text])
    assert "".join(shown) == strip_links(text)


def test_blank_lines_without_end_are_never_on_the_screen():
    stream = GroundedStream(["请到前台登记。"])
    assert stream.push("请到前台") == "请到前台"
    assert [stream.push(" \n") for _ in range(50)] == [""] * 50
    assert stream.push("登记").strip() == "登记"

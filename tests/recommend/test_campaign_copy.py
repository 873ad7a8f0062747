"""Copy is checked by code, whoever wrote it: facts, forbidden claims, language, plain words."""

from typing import Any

import pytest

from app.recommend.campaign_copy import TEXTS, check_copy, claims, find_claims

FACTS = [
    "周末亲子烘焙 Family baking 活动中心二楼 2nd floor of the activity centre",
    "价格30元 Price: 30 yuan. 12月5日14:00 开始 Starts 5 Dec 14:00. 咨询电话 021-5555 0100",
]
GOOD = {
    "title_zh": "周末亲子烘焙，欢迎报名",
    "title_en": "Family baking this weekend",
    "body_zh": "12月5日14:00在活动中心二楼，费用30元，咨询021-5555 0100。最晚请提前报名，第一次参加的家庭也欢迎。",
    "body_en": "On 5 Dec at 14:00 on the 2nd floor of the activity centre, 30 yuan. Do your best and have fun.",
    "plain_zh": "周末来做面包。12月5日下午两点。费用30元。",
    "plain_en": "Come and bake bread. It is on 5 Dec at 14:00. It costs 30 yuan.",
}


def codes(**changed: str) -> list[tuple[str, str]]:
    return [(one.field, one.code) for one in check_copy(GOOD | changed, FACTS, costs=True)]


def test_copy_from_the_facts_passes():
    assert check_copy(GOOD, FACTS, costs=True) == []
    assert set(GOOD) == set(TEXTS)


@pytest.mark.parametrize(
    ("field", "text", "code"),
    [
        ("body_zh", "12月6日14:00开始。", "not_in_facts"), ("body_en", "Only 25 yuan.", "not_in_facts"),
        ("body_zh", "报名电话021-6666 0100。", "not_in_facts"), ("plain_zh", "下午三点来。", "not_in_facts"),
        ("title_en", "Free family baking", "price_wrong"), ("title_zh", "免费亲子烘焙", "price_wrong"),
        ("body_en", "周末一起来做面包吧。", "wrong_language"), ("title_zh", " ", "missing"), ("title_zh", "好" * 61, "too_long"),
        ("body_zh", "欢迎{name}来烘焙。", "placeholder_unknown"),
        ("plain_zh", "欢迎大家在周末的下午带上家里的小朋友一起来到活动中心参加有趣的烘焙活动。", "not_plain"),
        ("title_zh", "小区最佳亲子活动", "absolute_term"), ("body_zh", "全市第一的烘焙课。", "absolute_term"),
        ("body_zh", "１００％安全。", "absolute_term"), ("body_zh", "最 佳 选 择", "absolute_term"), ("body_zh", "国-家-级大师。", "absolute_term"),
        ("title_en", "The best baking class", "absolute_term"), ("body_zh", "保证学会。", "guarantee"),
        ("body_en", "We guarantee that you like it.", "guarantee"), ("body_zh", "吃了能降血压。", "medical_promise"),
        ("body_zh", "保本理财，欢迎了解。", "financial_promise"), ("body_zh", "名师授课，保过。", "education_promise"),
        ("body_zh", "政府推荐的活动。", "state_symbol"), ("body_zh", "手慢无，欢迎报名。", "pressure"),
        ("body_zh", "家门口升值空间大。", "property_promise"),
    ],
)  # fmt: skip
def test_what_may_not_be_said_is_found_with_its_reason(field: str, text: str, code: str):
    assert (field, code) in codes(**{field: text})


@pytest.mark.parametrize(
    "text",
    [
        "最近天气转冷，最晚周五报名，最后一天不延期。", "第一次来请到第一单元集合。", "请您务必确保安全。", "保证金可退。", "请联系康复治疗师。",
        "Do your best. Best wishes, at the latest on Friday.", "最新通知请看公告栏。", "活动结束后请带走垃圾，谢谢配合。",
    ],
)  # fmt: skip
def test_ordinary_words_are_no_claims(text: str):
    assert find_claims(text) == []


def test_every_claim_has_its_reasons_in_both_languages():
    for claim in claims():
        told: list[Any] = [claim.code, claim.zh, claim.en]
        assert all(told)
        assert claim.en.isascii()

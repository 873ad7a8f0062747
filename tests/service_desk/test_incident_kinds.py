"""What residents say when something fails, in their words, and what only sounds like it."""

import pytest

from app.service_desk.incident_kinds import KINDS, IncidentKind, kinds_of

K = IncidentKind

SAID = {
    K.WATER: [
        "三单元没水", "没水了", "停水了？", "家里突然没有水", "水龙头放不出水", "龙头不出水了", "今天怎么没水", "我们这栋断水了",
        "水停了，什么时候来", "厨房卫生间都没得水不来水", "水压特别低洗不了澡", "屋头莫得水", "冇水啦", "自来水断了", "水怎么没了",
        "No water in unit 3", "Is the water off?", "the tap is dry", "our water has been cut off", "water pressure is very low",
        "no running water since 8", "water's gone",
    ],
    K.ELECTRICITY: [
        "停电了", "家里没电", "整栋楼都黑了", "突然断电", "一直跳闸", "电又停了", "3栋停电", "冇电", "Power is out", "no electricity",
        "power cut in building 2", "blackout!", "the breaker keeps tripping", "the lights all went out",
    ],
    K.GAS: ["没气了做不了饭", "停气了吗现在", "燃气灶打不着火", "天然气断了", "no gas today", "the gas is off"],
    K.HEATING: ["暖气不热", "暖气片冰凉", "停暖了", "地暖没热", "no heating", "the radiators are cold"],
    K.HOT_WATER: ["没热水", "热水没了", "no hot water", "热水不热"],
    K.LIFT: ["电梯坏了", "2号楼电梯停了", "电梯不动", "电梯按键没反应", "the lift is broken", "elevator out of order", "lift stuck on 5"],
    K.NETWORK: ["断网了", "网络连不上", "wifi掉线", "上不了网", "internet is down", "no wifi"],
    K.DRAINAGE: ["下水道堵了", "马桶返水", "地漏往上冒水", "污水外溢", "the drain is blocked", "sewage in the garage"],
    K.LEAK: ["水管爆了", "楼道漏水", "车库进水", "立管漏", "burst pipe", "the pipe is leaking", "garage flooded"],
    K.LIGHTING: ["楼道灯不亮", "三单元楼梯黑灯瞎火", "路灯坏了", "the hallway light is out"],
    K.SMELL: ["楼道臭得不行", "有一股恶臭", "The hallway smells awful"],
    K.REFUSE: ["垃圾桶满了没人收", "楼下垃圾堆成山了", "the bins are overflowing"],
    K.NOISE: ["空调外机噪音大", "楼顶风机嗡嗡响", "so much noise from the roof"],
    K.ACCESS: ["单元门打不开", "门禁坏了", "道闸抬不起来", "刷脸没反应", "the gate won't open", "intercom is broken"],
}  # fmt: skip
NOTHING = [
    "水来了谢谢", "电已经来了", "水费怎么这么高", "停水通知再发一下", "明天会停水吗", "没有漏水",
    "电费单没收到", "水电费怎么交", "建议加个快递柜", "the water is back", "my water bill doubled", "power is back on",
    "保安态度差", "狗叫",
]  # fmt: skip


def test_every_kind_has_its_words():
    assert set(KINDS) == set(IncidentKind)
    assert {kind for kind, words in KINDS.items() if words.told is not None} == set(SAID)
    assert all(words.zh and words.en for words in KINDS.values())


@pytest.mark.parametrize(("kind", "text"), [(kind, text) for kind, texts in SAID.items() for text in texts])
def test_what_fails_is_known_by_the_words_of_residents(kind, text):
    assert kind in kinds_of(text)


@pytest.mark.parametrize("text", NOTHING)
def test_what_only_sounds_like_it_is_nothing(text):
    assert kinds_of(text) == frozenset()

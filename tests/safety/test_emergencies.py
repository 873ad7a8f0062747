"""Emergencies in the words of people who are afraid, and words that only sound like them."""

import pytest

from app.safety import emergencies, second_voice
from app.safety.emergencies import EmergencyKind
from app.safety.emergency_signs import SIGNS, TAKE_BACKS
from app.safety.phrases import Phrases, Replacing, Spelling, normal
from models import intent, versions
from models.openai_embedder import OpenAiEmbedder


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("我被困在电梯里了", "trapped"), ("困喺𨋢入面出唔到嚟", "trapped"), ("我困再电剃里了", "trapped"),
        ("有人被困在電梯裡面", "trapped"), ("stuck在lift里了", "trapped"), ("I'm traped in teh elevater", "trapped"),
        ("屋头有煤气味得嘛,啷个办", "gas"), ("家里煤汽味很大", "gas"), ("I smell gas", "gas"),
        ("着 火 了!!", "fire"), ("着伙了快救命", "fire"), ("楼道冒烟了", "fire"), ("Fire!", "fire"),
        ("水管爆了水漫到客厅", "flood"), ("A pipe burst", "flood"),
        ("老人晕倒了没反应", "medical"), ("俺娘晕菜了,咋叫都不吱声", "medical"), ("my dad is unconcious", "medical"),
        ("小囡勿见了", "missing_person"), ("My child is missing", "missing_person"),
        ("有人撬我家门", "violence"), ("A fight downstairs", "violence"),
        ("被楼上扔下来的瓶子砸到头,流血了", "falling_object_injury"),
        ("有人触电了", "electric"), ("积水里有电,有人走过去被电倒了", "electric"),
    ],
)  # fmt: skip
def test_an_emergency_is_found_in_dialect_typos_and_both_languages(text: str, kind: str):
    found = emergencies.find(text)
    assert found is not None
    assert found.kind == kind


@pytest.mark.parametrize(
    "text",
    [
        "急死了", "笑死我了", "热得要着火了", "心都要跳出来了", "消防演习通知", "燃气费怎么交", "电梯广告", "gas bill", "fire sale",
        "电梯停在5楼,里面没人", "Lift stuck on 5, nobody inside", "没有闻到煤气味,只是想检查一下", "it's not a gas leak, just paint smell",
        "如果被困电梯应该怎么做", "What should I do if I get stuck in the elevator?", "去年地库被淹,今年有措施吗", "孩子找到了,谢谢大家",
        "我女儿的门禁卡不见了", "高空抛物差点砸到人", "A bottle nearly hit me", "群里因为车位打起来了", "", "。。。", "a" * 4000,
    ],
)  # fmt: skip
def test_words_that_only_sound_like_an_emergency_alarm_nobody(text: str):
    assert emergencies.find(text) is None


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("电梯里的插座着火了,我们被困在里面", "fire"), ("楼上漏水,水里有电,有人被电倒了", "electric"),
        ("我爸高空坠物砸到头,晕倒了", "falling_object_injury"), ("隔壁打老婆,打得晕倒了", "violence"),
    ],
)  # fmt: skip
def test_of_several_the_gravest_is_answered(text: str, kind: str):
    assert emergencies.find(text).kind == kind  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("消防演习的通知我看到了", "不是演习,真的着火了,快来人"), ("昨天电梯困过人", "昨天电梯困过人,现在又困人了,快来"),
        ("没有着火", "没有人管,着火了"), ("误报,没着火", "不是误报,着火了"),
    ],
)  # fmt: skip
def test_what_takes_an_alarm_back_can_be_taken_back_itself(before: str, after: str):
    assert emergencies.find(before) is None
    assert emergencies.find(after) is not None


def test_every_sign_and_take_back_names_concepts_that_there_are():
    concepts = {phrase.concept for rows in _index() for _, phrase in rows}
    named = {name for sign in SIGNS for name in (*sign.concepts, *sign.without, *sign.not_between)}
    named |= {*emergencies.EVERYDAY, *emergencies.PRESSING, *emergencies.ALL_IS_WELL}
    named |= {name for back in TAKE_BACKS for name in (back.concept, *back.but, back.also) if name}
    assert named <= concepts
    assert concepts <= named, "nobody asks for these concepts"
    assert {sign.kind for sign in SIGNS if not sign.weak} == set(EmergencyKind)


def _index():
    phrases = emergencies.rules().phrases
    return (*phrases._by_one.values(), *phrases._by_two.values())


def test_the_second_voice_is_asked_of_what_is_short_enough_to_be_a_cry_for_help():
    asked: list[str] = []

    def voice(text: str) -> second_voice.Opinion:
        asked.append(text)
        return second_voice.Opinion(0.95 if "救" in text or "沉" in text else 0.1, EmergencyKind.MEDICAL)

    assert second_voice.find("我妈晕倒了叫不醒", voice) is not None
    assert second_voice.find("物业费多少钱", voice) is None
    assert second_voice.find("救救我", voice) is not None
    assert second_voice.find("救救我", None) is None, "it works without one"
    assert second_voice.find("物业费" * 200, voice) is None
    assert asked == ["我妈晕倒了叫不醒", "物业费多少钱", "救救我"], "a long text is for the rules"


@pytest.mark.parametrize(
    ("text", "share", "alarms"),
    [
        ("我喘不上气,哮喘药找不到", 0.01, True), ("我喘不上气,哮喘药找不到", 0.001, False), ("楼道里冒烟", 0.01, False),
        ("楼道里冒烟", 0.15, True), ("楼道里冒烟,快来人", 0.01, True), ("露台烤肉冒烟正常吗", 0.1, False), ("露台烤肉冒烟正常吗", 0.3, True),
        ("说是烤肉,现在冒烟正常吗,快来人", 0.15, True), ("楼道里冒烟" + "。" * 300, 0.0, True),
    ],
)  # fmt: skip
def test_the_second_voice_must_be_the_surer_to_silence_the_firmer_the_alarm(text: str, share: float, alarms: bool):
    """And less so where something in the text speaks against it. The rules alone alarm in all of these."""
    assert emergencies.find(text) is not None
    found = second_voice.find(text, lambda _: second_voice.Opinion(share, EmergencyKind.FIRE, whole=True))
    assert (found is not None) == alarms


SILENT = "他趴在方向盘上,嘴边都是沫子"
"""No sign of the rules is in it."""


async def test_the_meaning_is_heard_where_words_are_not_enough_and_missed_by_nobody(embedder):
    """With the embedder away the rules and the wording still answer, and at once."""
    away = OpenAiEmbedder(
        "http://127.0.0.1:9", model=embedder.name, width=embedder.width, api_key="", timeout_seconds=1,
        texts_per_call=8, query_prefix="", passage_prefix="",
    )  # fmt: skip
    for one in (embedder, away, None):
        assert (await second_voice.listen("电梯里困人了", one)).kind == "trapped"  # type: ignore[union-attr]
        assert await second_voice.listen("物业费在哪里交", one) is None
        assert await second_voice.listen("", one) is None
    assert emergencies.read(SILENT).sure is None
    vector = (await embedder.embed_queries([SILENT]))[0]
    assert await second_voice.listen(SILENT, embedder) == second_voice.find_whole(SILENT, vector)
    await away.close()


def test_without_its_weights_the_rules_speak_alone(monkeypatch, tmp_path):
    monkeypatch.setattr(versions, "WEIGHTS", tmp_path)
    intent.load_emergencies.cache_clear()
    assert second_voice.find("着火了", second_voice.by_wording) is not None
    assert second_voice.find("救救我", second_voice.by_wording) is None
    monkeypatch.undo()
    intent.load_emergencies.cache_clear()


def test_a_text_is_normalised_before_it_is_read():
    assert normal("着　火 了！！！") == "着火了!"
    assert normal("I can’t get OUT.") == "i cant get out。"
    assert Replacing({"电剃": "电梯", "teh": "the"})("电剃 teh tehran") == "电梯 the tehran"
    assert Spelling(["trapped"], ["tripped"])("traped trpaped tripped strapped") == "trapped trapped tripped strapped"
    assert Phrases({"no": ["没~反应"]}).spans("没有反应。没。反应") == {"no": [(0, 4)]}

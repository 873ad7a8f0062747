"""Promises found in what staff write: each sentence with the time it names, and sentences that promise nothing."""

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from app.service_desk.promise_rule import find_promise

SHANGHAI = ZoneInfo("Asia/Shanghai")
NOW = datetime(2026, 11, 18, 10, 0, tzinfo=SHANGHAI)
"""A Wednesday, ten in the morning."""

PROMISES = [
    ("明天上午10点前上门", "2026-11-19 10:00"),
    ("师傅明天上午十点半到您家。", "2026-11-19 10:30"),
    ("我们会在2小时内给您回电", "2026-11-18 12:00"),
    ("半小时内安排人过去", "2026-11-18 10:30"),
    ("一个半小时内赶到", "2026-11-18 11:30"),
    ("两个小时之内处理好", "2026-11-18 12:00"),
    ("今天下午3点前修好", "2026-11-18 15:00"),
    ("今晚8点之前恢复供水", "2026-11-18 20:00"),
    ("3点前上门", "2026-11-18 15:00"),
    ("明早9点会有师傅联系您", "2026-11-19 09:00"),
    ("后天下午派人过来", "2026-11-20 18:00"),
    ("周五上午会上门维修", "2026-11-20 12:00"),
    ("下周一给您答复", "2026-11-23 18:00"),
    ("周二前解决", "2026-11-24 18:00"),
    ("11月20日上午9:30上门", "2026-11-20 09:30"),
    ("20号给您回复", "2026-11-20 18:00"),
    ("明天9点到11点之间上门", "2026-11-19 11:00"),
    ("三天内处理完", "2026-11-21 10:00"),
    ("已收到您的报修。师傅明天下午两点过去看。", "2026-11-19 14:00"),
    ("您好，一刻钟内保安会到", "2026-11-18 10:15"),
    ("we'll call you within 2 hours", "2026-11-18 12:00"),
    ("Somebody will come by tomorrow before 10 am.", "2026-11-19 10:00"),
    ("I will fix it by 5pm.", "2026-11-18 17:00"),
    ("The plumber will be there at 14:30 today", "2026-11-18 14:30"),
    ("We'll get back to you in half an hour", "2026-11-18 10:30"),
    ("The engineer is coming tomorrow afternoon", "2026-11-19 18:00"),
    ("We will reply by Friday", "2026-11-20 18:00"),
    ("Thanks for telling us. Our team will visit next Monday at 9:15 am.", "2026-11-23 09:15"),
    ("It will be done within three days", "2026-11-21 10:00"),
    ("We will come on Thursday between 9 am and noon", "2026-11-19 12:00"),
]

NO_PROMISES = [
    "好的，收到", "您好，请问方便描述一下吗？", "明天上午10点您在家吗？", "昨天下午3点已上门", "请您明天上午10点前在家",
    "配件没货，明天不能上门", "我们马上安排", "尽快给您处理", "这个月15号已交费", "您说的3点钟漏水我们记录了",
    "热水供应时间为每天18点", "Is 10 am tomorrow all right for you?", "We came yesterday at 5 pm.",
    "Please be at home tomorrow at 10 am.", "We can't come tomorrow.", "We will look into it.", "Office hours are 9:00 to 18:00.",
    "You said it leaks at 3 pm.", "", "。。。", "会的",
]  # fmt: skip


@pytest.mark.parametrize(("text", "due"), PROMISES)
def test_what_is_promised_is_found_with_its_time(text, due):
    found = find_promise(text, now=NOW, zone=SHANGHAI)
    assert found is not None
    assert f"{found.due_at.astimezone(SHANGHAI):%Y-%m-%d %H:%M}" == due
    assert found.text in text


@pytest.mark.parametrize("text", NO_PROMISES)
def test_what_promises_nothing_is_left_alone(text):
    assert find_promise(text, now=NOW, zone=SHANGHAI) is None


def test_a_time_that_has_passed_is_no_promise():
    assert find_promise("今天上午9点前上门", now=NOW, zone=SHANGHAI) is None


def test_the_community_s_own_clock_counts():
    berlin = ZoneInfo("Europe/Berlin")
    found = find_promise("We will come tomorrow at 10 am", now=NOW, zone=berlin)
    assert found is not None
    assert f"{found.due_at.astimezone(berlin):%Y-%m-%d %H:%M}" == "2026-11-19 10:00"


def test_a_promise_over_the_change_of_clocks_is_for_the_hour_on_the_wall():
    berlin = ZoneInfo("Europe/Berlin")
    evening = datetime(2026, 10, 24, 20, 0, tzinfo=berlin)
    found = find_promise("We will come tomorrow at 10 am", now=evening, zone=berlin)
    assert found is not None
    assert (found.due_at - evening.astimezone(ZoneInfo("UTC"))).total_seconds() == 15 * 3600

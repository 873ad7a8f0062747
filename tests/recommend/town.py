"""A community with things to recommend, for the tests."""

from datetime import datetime, timedelta
from typing import Any

from tests.conftest import NOW, Client
from tests.make import Person

Row = dict[str, Any]

TITLES: tuple[tuple[str, str, str, list[str]], ...] = (
    ("activity", "周末亲子手工课", "带五到八岁的孩子一起做灯笼和黏土，材料免费。", ["亲子", "手工"]),
    ("activity", "亲子绘本故事会", "图书角老师给学龄前小朋友讲绘本故事。", ["亲子", "阅读"]),
    ("activity", "羽毛球双打友谊赛", "社区羽毛球馆双打比赛，欢迎各年龄球友报名。", ["运动", "羽毛球"]),
    ("activity", "太极拳晨练", "每天早上在中心花园跟老师打太极拳，适合老年人。", ["运动", "养生"]),
    ("activity", "老年智能手机课", "手把手教老人用手机挂号、打车、视频通话。", ["老年", "学习"]),
    ("activity", "咖啡拉花体验", "咖啡店师傅教你做拿铁拉花。", ["美食", "咖啡"]),
    ("service", "上门空调清洗", "空调拆洗、消毒，一台起做。", ["家政", "清洁"]),
    ("service", "开锁换锁", "备案锁匠，三十分钟上门。", ["维修"]),
    ("service", "钢琴陪练", "音乐学院学生上门陪孩子练琴。", ["亲子", "音乐"]),
    ("facility", "羽毛球馆", "社区羽毛球馆分时段预约，两片场地。", ["运动", "羽毛球"]),
    ("facility", "儿童游乐场", "滑梯、沙坑和秋千，适合三到十岁的孩子。", ["亲子", "户外"]),
    ("offer", "社区食堂午餐八折", "六十岁以上老人凭卡八折。", ["美食", "老年"]),
    ("offer", "水果店满减", "时令水果满五十减十。", ["美食", "购物"]),
    ("article", "装修期间如何少扰邻", "装修时间规定和降噪办法。", ["装修", "家居"]),
    ("article", "孩子发烧怎么办", "儿科医生写的家庭护理要点。", ["亲子", "健康"]),
    ("group", "周末徒步小组", "每周六去郊外徒步，二十公里以内。", ["运动", "户外"]),
    ("group", "猫咪互助群", "出差时互相喂猫、交换经验。", ["宠物"]),
    ("notice", "电动车充电桩启用", "地下车库新装三十个充电桩。", ["停车", "公告"]),
)  # fmt: skip


def item(title: str = "周末亲子手工课", **columns: Any) -> Row:
    """The body of a valid item."""
    return {"kind": "activity", "title": title, "text": "", "categories": [], **columns}


async def open_item(client: Client, by: Person, title: str = "周末亲子手工课", **columns: Any) -> Row:
    answer = await client.post(f"{by.place.url}/items", json=item(title, **columns), as_=by)
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def open_town(client: Client, by: Person, run_jobs: Any, **columns: Any) -> dict[str, Row]:
    """One of each of TITLES by its title, embedded."""
    opened = {}
    for kind, title, words, categories in TITLES:
        given = {"kind": kind, "text": words, "categories": categories, **columns}
        opened[title] = await open_item(client, by, title, **given)
    await run_jobs()
    return opened


def at(days: float = 0, *, hours: float = 0, now: datetime = NOW) -> str:
    return (now + timedelta(days=days, hours=hours)).isoformat()


async def recommended(client: Client, who: Person, limit: int = 5, **params: Any) -> Row:
    answer = await client.get("/api/v1/me/recommendations", params={"limit": limit, **params}, as_=who)
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def titles(listed: Row) -> list[str]:
    return [one["item"]["title"] for one in listed["items"]]


async def tell(client: Client, who: Person, kind: str, one: Row, **columns: Any) -> Any:
    body = {"item_id": one["id"], "kind": kind, **columns}
    return await client.post("/api/v1/me/recommendation-feedback", json=body, as_=who)


async def set_profile(client: Client, who: Person, **changes: Any) -> Row:
    answer = await client.patch(
        "/api/v1/me/recommendation-profile", json=changes, headers={"If-Match": "*"}, as_=who
    )  # fmt: skip
    assert answer.status_code == 200, answer.text
    return dict(answer.json())

"""What the staff of the practice community can do, when they work, and who is on call. Hours as its handbook says."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid5

from app.people.tables import Skill
from app.practice.world import Staff, World, stable_id

WORKDAYS, EVERY_DAY = (1, 2, 3, 4, 5), (1, 2, 3, 4, 5, 6, 7)

SKILLS: dict[str, tuple[Skill, ...]] = {
    "engineer1@wanglan": (Skill.CIVIL, Skill.ELECTRICAL, Skill.LIFT, Skill.PLUMBING),
    "engineer2@wanglan": (Skill.ELECTRICAL, Skill.GENERAL, Skill.PLUMBING),
    "engineer3@wanglan": (Skill.ELECTRICAL, Skill.LIFT, Skill.LOCKS),
    "engineer4@wanglan": (Skill.CIVIL, Skill.LOCKS, Skill.PLUMBING),
    "engineer1@guiyin": (Skill.CIVIL, Skill.ELECTRICAL, Skill.GENERAL, Skill.LOCKS, Skill.PLUMBING),
    "frontdesk3@wanglan": (Skill.CLEANING, Skill.GENERAL),
}
"""By login; the others have what goes with their title."""

SKILLS_OF_TITLE: dict[str, tuple[Skill, ...]] = {
    "项目经理": (Skill.GENERAL,),
    "区域总监": (Skill.GENERAL,),
    "前台专员": (Skill.FRONT_DESK,),
    "前台主管": (Skill.FRONT_DESK, Skill.GENERAL),
    "品质专员": (Skill.CLEANING,),
    "工程主管": (Skill.GENERAL,),
    "工程师": (Skill.GENERAL,),
    "会计": (Skill.FINANCE,),
    "保安队长": (Skill.GENERAL, Skill.SECURITY),
    "保安": (Skill.SECURITY,),
}


@dataclass(frozen=True, slots=True)
class Duty:
    """A weekly shift, or with a level a time on call. 00:00 to 00:00 is the whole day."""

    login: str
    slug: str
    weekdays: Sequence[int]
    from_time: str = "00:00"
    to_time: str = "00:00"
    level: int = 0


SHIFTS: tuple[Duty, ...] = (
    Duty("manager@wanglan", "wanglan", WORKDAYS, "08:30", "18:00"),
    Duty("frontdesk@wanglan", "wanglan", WORKDAYS, "08:30", "18:00"),
    Duty("frontdesk2@wanglan", "wanglan", (3, 4, 5, 6, 7), "09:00", "17:00"),
    Duty("frontdesk3@wanglan", "wanglan", (1, 2, 3, 6, 7), "09:00", "17:00"),
    Duty("engineer1@wanglan", "wanglan", WORKDAYS, "08:30", "17:30"),
    Duty("engineer2@wanglan", "wanglan", (1, 2, 3, 4, 5, 6), "08:30", "17:30"),
    Duty("engineer3@wanglan", "wanglan", (2, 3, 4, 5, 6, 7), "11:00", "20:00"),
    Duty("engineer4@wanglan", "wanglan", (1, 3, 4, 5, 6, 7), "08:30", "20:00"),
    Duty("finance1@qihe", "wanglan", WORKDAYS, "09:00", "17:30"),
    Duty("security1@wanglan", "wanglan", EVERY_DAY, "08:00", "16:00"),
    Duty("security2@wanglan", "wanglan", EVERY_DAY, "08:00", "16:00"),
    Duty("security3@wanglan", "wanglan", EVERY_DAY, "16:00", "00:00"),
    Duty("security4@wanglan", "wanglan", EVERY_DAY, "16:00", "00:00"),
    Duty("security5@wanglan", "wanglan", EVERY_DAY, "00:00", "08:00"),
    Duty("security6@wanglan", "wanglan", EVERY_DAY, "00:00", "08:00"),
    Duty("manager@guiyin", "guiyin", WORKDAYS, "08:30", "18:00"),
    Duty("frontdesk@guiyin", "guiyin", (1, 2, 3, 4, 5, 6), "08:30", "17:30"),
    Duty("engineer1@guiyin", "guiyin", (1, 2, 3, 4, 5, 6), "08:30", "17:30"),
    Duty("finance2@qihe", "guiyin", WORKDAYS, "09:00", "17:30"),
    Duty("security7@guiyin", "guiyin", EVERY_DAY, "08:00", "20:00"),
    Duty("security8@guiyin", "guiyin", EVERY_DAY, "20:00", "08:00"),
)

ROTA: tuple[Duty, ...] = (
    Duty("engineer2@wanglan", "wanglan", (1, 4), level=1),
    Duty("engineer3@wanglan", "wanglan", (2, 5), level=1),
    Duty("engineer4@wanglan", "wanglan", (3, 6), level=1),
    Duty("engineer1@wanglan", "wanglan", (7,), level=1),
    Duty("security1@wanglan", "wanglan", EVERY_DAY, level=2),
    Duty("manager@wanglan", "wanglan", EVERY_DAY, level=3),
    Duty("director@qihe", "wanglan", EVERY_DAY, level=4),
    Duty("engineer1@guiyin", "guiyin", EVERY_DAY, level=1),
    Duty("security7@guiyin", "guiyin", EVERY_DAY, level=2),
    Duty("manager@guiyin", "guiyin", EVERY_DAY, level=3),
    Duty("director@qihe", "guiyin", EVERY_DAY, level=4),
)


def skills_of(world: World, member: Staff) -> list[str]:
    """In the order of their names, as the app stores them."""
    login = next(account.login for account in world.accounts if account.id == member.account_id)
    return sorted(SKILLS.get(login, SKILLS_OF_TITLE[member.title]))


def shift_rows(world: World, community_id: UUID) -> list[dict[str, Any]]:
    return [_row(world, duty, "shift") | {"off": False} for duty in SHIFTS if stable_id(duty.slug) == community_id]


def rota_rows(world: World, community_id: UUID) -> list[dict[str, Any]]:
    return [_row(world, duty, "rota") | {"level": duty.level} for duty in ROTA if stable_id(duty.slug) == community_id]


def _row(world: World, duty: Duty, kind: str) -> dict[str, Any]:
    account_id = next(account.id for account in world.accounts if account.login == duty.login)
    staff_id = next(member.id for member in world.staff if member.account_id == account_id)
    every_day = tuple(duty.weekdays) == EVERY_DAY
    return {
        "id": uuid5(staff_id, f"{kind}/{duty.slug}/{duty.from_time}"), "community_id": stable_id(duty.slug),
        "staff_id": staff_id, "weekdays": None if every_day else list(duty.weekdays), "from_time": duty.from_time,
        "to_time": duty.to_time, "note": "",
    }  # fmt: skip

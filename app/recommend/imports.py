"""Items, and what people did with them, from sheets: row by row, the same sheet twice changes nothing.

An item is known by its own id in the system that it comes from. Of interactions, any file with user, item, rating and
timestamp will do: a user who is no resident stays a name, from whom the ranker learns all the same.
"""

import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal, InvalidOperation
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import or_, select
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.people.background_jobs import Outcome, Problem
from app.people.background_work import IMPORTERS, Importer
from app.people.local_time import zone_of
from app.people.problems import problem
from app.people.sheets import Column, Row
from app.people.tables import JobKind, Resident
from app.queue import send_after_commit
from app.recommend import items
from app.recommend.feedback import CLOCK_SKEW, occasion_of
from app.recommend.tables import FeedbackKind, Item, ItemAudience, ItemFeedback, ItemKind

EXTERNAL_ID = Column("external_id", "外部编号", "A-2026-031", ("id", "编号"), required=True)
KIND = Column("kind", "类型", "活动", required=True)
TITLE = Column("title", "标题", "周末亲子包粽子", required=True)
TITLE_EN = Column("title_en", "英文标题", "Family dumpling morning")
TEXT = Column("text", "内容", "材料已备好，带上孩子来就行。")
TEXT_EN = Column("text_en", "英文内容", "All you need is there. Bring the children.")
CATEGORIES = Column("categories", "分类", "亲子、美食", ("标签",))
PROVIDER = Column("provider", "提供方", "社区食堂", ("商家",))
PLACE = Column("place", "地点", "3栋架空层")
AUDIENCE = Column("audience", "面向", "所有人")
PRICE = Column("price", "价格", "0", ("价格(元)",))
CAPACITY = Column("capacity", "名额", "20")
STARTS = Column("starts_at", "开始时间", "2026-11-28 14:00", ("开始",))
ENDS = Column("ends_at", "结束时间", "2026-11-28 16:00", ("结束",))
EXPIRES = Column("expires_at", "下架时间", "2026-11-28 16:00", ("到期",))
ITEM_COLUMNS = (
    EXTERNAL_ID, KIND, TITLE, TITLE_EN, TEXT, TEXT_EN, CATEGORIES, PROVIDER, PLACE, AUDIENCE, PRICE, CAPACITY, STARTS,
    ENDS, EXPIRES,
)  # fmt: skip
KIND_WORDS: dict[ItemKind, str] = {
    ItemKind.ACTIVITY: "活动", ItemKind.SERVICE: "服务", ItemKind.FACILITY: "设施", ItemKind.OFFER: "优惠",
    ItemKind.NOTICE: "公告", ItemKind.ARTICLE: "文章", ItemKind.GROUP: "小组",
}  # fmt: skip
AUDIENCE_WORDS: dict[ItemAudience, str] = {
    ItemAudience.ALL: "所有人", ItemAudience.OWNERS: "业主", ItemAudience.TENANTS: "租户",
}  # fmt: skip
"""Both complete; a test proves it."""
KINDS = {word: kind for kind, zh in KIND_WORDS.items() for word in (zh, kind.value)}
AUDIENCES = {word: kind for kind, zh in AUDIENCE_WORDS.items() for word in (zh, kind.value)}
CHARS_MAX: dict[Column, int] = {
    EXTERNAL_ID: 200, TITLE: 200, TITLE_EN: 200, TEXT: 5_000, TEXT_EN: 5_000, PROVIDER: 100, PLACE: 200,
}  # fmt: skip
CATEGORIES_MAX, CATEGORY_CHARS_MAX = 8, 40
PRICE_MAX, CAPACITY_MAX = 10_000_000, 1_000_000

USER = Column("user", "用户", "018f…", ("user_id", "userid", "住户", "uid"), required=True)
ITEM = Column("item", "项目", "A-2026-031", ("item_id", "itemid", "movieid", "iid", "外部编号"), required=True)
RATING = Column("rating", "评分", "5", ("score",))
AT = Column("timestamp", "时间", "1764300000", ("time", "ts", "at"))
INTERACTION_COLUMNS = (USER, ITEM, RATING, AT)
NAME_CHARS_MAX = 200
RATING_MAX = 1_000.0
LIKED_FROM = 3.0
"""A rating above it, of the usual five, says that somebody liked it; another that they had it. None at all: liked."""


def item_key(row: Row) -> str:
    return row.cells.get(EXTERNAL_ID.key, f"line {row.line}")


def interaction_key(row: Row) -> tuple[str, ...]:
    return tuple(row.cells.get(column.key, "") for column in (USER, ITEM, AT))


# Items


def check_item(row: Row, zone: ZoneInfo) -> tuple[dict[str, Any], list[Problem]]:
    """The columns of an item as a row says them, empty cells left out, and what is wrong with it."""
    problems = [
        problem(row, column, "cell_missing") for column in (EXTERNAL_ID, KIND, TITLE) if column.key not in row.cells
    ]
    problems += [
        problem(row, column, "cell_too_long", most)
        for column, most in CHARS_MAX.items() if len(row.cells.get(column.key, "")) > most
    ]  # fmt: skip
    said: dict[str, Any] = {column.key: row.cells[column.key] for column in CHARS_MAX if column.key in row.cells}
    for column, known, words in ((KIND, KINDS, KIND_WORDS), (AUDIENCE, AUDIENCES, AUDIENCE_WORDS)):
        if column.key in row.cells:
            said[column.key] = known.get(row.cells[column.key].lower())
            if said[column.key] is None:
                problems.append(problem(row, column, "cell_unknown", "、".join(words.values())))
    if CATEGORIES.key in row.cells:
        said["categories"] = _categories(row.cells[CATEGORIES.key])
        if any(len(one) > CATEGORY_CHARS_MAX for one in said["categories"]):
            problems.append(problem(row, CATEGORIES, "cell_too_long", CATEGORY_CHARS_MAX))
    _numbers(row, said, problems)
    for column in (STARTS, ENDS, EXPIRES):
        if column.key in row.cells:
            said[column.key] = moment(row.cells[column.key], zone)
            if said[column.key] is None:
                problems.append(problem(row, column, "time_invalid"))
    if said.get("starts_at") and said.get("ends_at") and said["ends_at"] < said["starts_at"]:
        problems.append(problem(row, ENDS, "ends_before_it_begins"))
    return said, problems


def _categories(text: str) -> list[str]:
    named = (one.strip() for one in re.split(r"[、,，;；/|]", text))
    return list(dict.fromkeys(one for one in named if one))[:CATEGORIES_MAX]


def _numbers(row: Row, said: dict[str, Any], problems: list[Problem]) -> None:
    price = _number(row.cells.get(PRICE.key, "0"), PRICE_MAX)
    if price is None:
        problems.append(problem(row, PRICE, "cell_not_a_number", PRICE_MAX))
    elif PRICE.key in row.cells:
        said["price_cents"] = int((price * 100).to_integral_value())
    capacity = _number(row.cells.get(CAPACITY.key, "1"), CAPACITY_MAX)
    if capacity is None or capacity < 1 or capacity != capacity.to_integral_value():
        problems.append(problem(row, CAPACITY, "cell_not_a_number", CAPACITY_MAX))
    elif CAPACITY.key in row.cells:
        said["capacity"] = int(capacity)


def _number(text: str, most: float) -> Decimal | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    return number if number.is_finite() and 0 <= number <= Decimal(str(most)) else None


def moment(text: str, zone: ZoneInfo) -> datetime | None:
    """A time of a sheet: 2026-11-28 14:00 by the clock of the community, with a zone, or seconds since 1970."""
    try:
        if re.fullmatch(r"\d{9,13}(\.\d+)?", text):
            seconds = float(text)
            # Milliseconds have three digits more than any second of this century.
            return datetime.fromtimestamp(seconds / 1_000 if seconds > 1e11 else seconds, UTC)
        at = datetime.fromisoformat(text.replace("/", "-").replace("T", " ").strip())
        return (at if at.tzinfo else at.replace(tzinfo=zone)).astimezone(UTC)
    except (ValueError, OverflowError, OSError):
        return None


async def write_items(
    session: AsyncSession, community_id: UUID, rows: Sequence[Row], repeated: Mapping[int, int], now: datetime
) -> Outcome:
    """Open or change items as these rows say."""
    zone, outcome = await zone_of(session, community_id), Outcome()
    named = {row.cells[EXTERNAL_ID.key] for row in rows if EXTERNAL_ID.key in row.cells}
    mine = (Item.community_id == community_id, Item.deleted_at.is_(None), Item.external_id.in_(named))
    known = {one.external_id: one for one in await session.scalars(select(Item).where(*mine))}
    number = await items.next_number(session, community_id)
    for row in rows:
        said, problems = check_item(row, zone)
        if not problems and row.line in repeated:
            problems.append(problem(row, EXTERNAL_ID, "row_repeated", repeated[row.line]))
        outcome.problems += problems
        if problems:
            continue
        item = known.get(said["external_id"])
        if item is None:
            item = Item(id=CLOCK.new_id(), community_id=community_id, created_at=now, joined_count=0, version=0)
            session.add(item)
            outcome.created += 1
        elif all(getattr(item, name) == value for name, value in said.items()):
            outcome.unchanged += 1
            continue
        else:
            outcome.changed += 1
        if items.EMBEDDED_FIELDS & {name for name, value in said.items() if getattr(item, name) != value}:
            item.embedder = item.embedding = None
        for name, value in said.items():
            setattr(item, name, value)
        item.version, item.updated_at, item.catalogue_number = (item.version or 0) + 1, now, number
    await session.flush()
    if outcome.created or outcome.changed:
        send_after_commit(session, items.embed_job(community_id))
    return outcome


# Interactions


def check_interaction(row: Row, zone: ZoneInfo, now: datetime) -> tuple[dict[str, Any], list[Problem]]:
    """User and item by name, rating and time as a row says them, and what is wrong with it."""
    problems = [problem(row, column, "cell_missing") for column in (USER, ITEM) if column.key not in row.cells]
    problems += [
        problem(row, column, "cell_too_long", NAME_CHARS_MAX)
        for column in (USER, ITEM) if len(row.cells.get(column.key, "")) > NAME_CHARS_MAX
    ]  # fmt: skip
    rating = _number(row.cells.get(RATING.key, "0"), RATING_MAX)
    if rating is None:
        problems.append(problem(row, RATING, "cell_not_a_number", int(RATING_MAX)))
    at = moment(row.cells[AT.key], zone) if AT.key in row.cells else now
    if at is None:
        problems.append(problem(row, AT, "time_invalid"))
    elif at > now + CLOCK_SKEW:
        problems.append(problem(row, AT, "time_in_future"))
    said = {
        "user": row.cells.get(USER.key, ""), "item": row.cells.get(ITEM.key, ""), "at": at,
        "rating": float(rating) if rating is not None and RATING.key in row.cells else None,
    }  # fmt: skip
    return said, problems


async def write_interactions(
    session: AsyncSession, community_id: UUID, rows: Sequence[Row], repeated: Mapping[int, int], now: datetime
) -> Outcome:
    """Write what people did as these rows say. Rows that were written before count as done."""
    zone, outcome = await zone_of(session, community_id), Outcome()
    item_of = await _items_named(session, community_id, {row.cells.get(ITEM.key, "") for row in rows})
    residents = await _residents_named(session, community_id, {row.cells.get(USER.key, "") for row in rows})
    values = []
    for row in rows:
        said, problems = check_interaction(row, zone, now)
        if not problems and said["item"] not in item_of:
            problems.append(problem(row, ITEM, "item_unknown"))
        if not problems and row.line in repeated:
            problems.append(problem(row, USER, "row_repeated", repeated[row.line]))
        outcome.problems += problems
        if not problems:
            values.append(_values(community_id, said, item_of[said["item"]], residents, now))
    if values:
        statement = insert(ItemFeedback).on_conflict_do_nothing().returning(ItemFeedback.id)
        outcome.created = len((await session.execute(statement, values)).all())
        outcome.unchanged = len(values) - outcome.created
    return outcome


def _values(
    community_id: UUID, said: Mapping[str, Any], item_id: UUID, residents: Mapping[str, UUID], now: datetime
) -> dict[str, Any]:
    liked = said["rating"] is None or said["rating"] > LIKED_FROM
    kind = FeedbackKind.LIKED if liked else FeedbackKind.SEEN
    resident_id = residents.get(said["user"])
    return {
        "id": CLOCK.new_id(), "community_id": community_id, "item_id": item_id, "resident_id": resident_id,
        "outside_person": None if resident_id else said["user"], "kind": kind,
        "occasion": occasion_of(kind, None, said["at"]), "rating": said["rating"], "at": said["at"],
        "created_at": now,
    }  # fmt: skip


async def _items_named(session: AsyncSession, community_id: UUID, names: set[str]) -> dict[str, UUID]:
    """Items by their external id, or by ours."""
    ids = [one for name in names if (one := _uuid(name))]
    found = await session.execute(
        select(Item.id, Item.external_id).where(
            Item.community_id == community_id, Item.deleted_at.is_(None),
            or_(Item.external_id.in_(names), Item.id.in_(ids)),
        )
    )  # fmt: skip
    named: dict[str, UUID] = {}
    for item_id, external_id in found:
        named |= {str(item_id): item_id} | ({external_id: item_id} if external_id else {})
    return named


async def _residents_named(session: AsyncSession, community_id: UUID, names: set[str]) -> dict[str, UUID]:
    ids = {one: name for name in names if (one := _uuid(name))}
    found = await session.scalars(
        select(Resident.id).where(Resident.community_id == community_id, Resident.id.in_(ids))
    )  # fmt: skip
    return {ids[one]: one for one in found}


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


IMPORTERS[JobKind.IMPORT_ITEMS] = Importer(ITEM_COLUMNS, item_key, write_items)
IMPORTERS[JobKind.IMPORT_INTERACTIONS] = Importer(INTERACTION_COLUMNS, interaction_key, write_interactions)

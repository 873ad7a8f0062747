"""When something recurs by the wall clock of a community: a shift, a time on call. Pure, besides reading the zone."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Protocol, TypeVar
from uuid import UUID
from zoneinfo import ZoneInfo

from sqlalchemy import func, or_, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import Conflict, Invalid
from app.people import communities, staff
from app.people.callers import Caller, CommunityNotFound
from app.people.tables import Community, Recurring, RotaEntry, StaffShift

ROWS_MAX = 5_000
"""Shifts, or entries of the rota, of one community."""


class DatesReversed(Invalid):
    code = "dates_reversed"

    def __init__(self) -> None:
        super().__init__("It ends before it begins.", "结束日期早于开始日期。")


class MomentOutOfRange(Invalid):
    code = "moment_out_of_range"

    def __init__(self) -> None:
        super().__init__("This moment is outside the calendar.", "时间超出可用范围。")


class TooManyRows(Conflict):
    code = "too_many_duties"

    def __init__(self) -> None:
        super().__init__(
            f"A community keeps at most {ROWS_MAX}. Delete those that are over.",
            f"每个小区最多保留 {ROWS_MAX} 条，请删除已过期的。", rows_max=ROWS_MAX,
        )  # fmt: skip


class Pattern(Protocol):
    """See `tables.Recurring`."""

    @property
    def weekdays(self) -> list[int] | None: ...
    @property
    def from_date(self) -> date | None: ...
    @property
    def to_date(self) -> date | None: ...
    @property
    def from_time(self) -> time: ...
    @property
    def to_time(self) -> time: ...


Row = TypeVar("Row", StaffShift, RotaEntry)


def covers(pattern: Pattern, wall: datetime) -> bool:
    """Whether the moment `wall`, local time, lies in it. Who reads 02:30 on the clock twice is there both times."""
    begins_today, now = _begins_on(pattern, wall.date()), wall.time()
    if pattern.from_time < pattern.to_time:
        return begins_today and pattern.from_time <= now < pattern.to_time
    if begins_today and now >= pattern.from_time:
        return True
    return now < pattern.to_time and _begins_on(pattern, wall.date() - timedelta(days=1))


def _begins_on(pattern: Pattern, day: date) -> bool:
    if pattern.weekdays is not None and day.isoweekday() not in pattern.weekdays:
        return False
    return (pattern.from_date is None or pattern.from_date <= day) and (
        pattern.to_date is None or day <= pattern.to_date
    )


def columns_of(given: Mapping[str, Any]) -> dict[str, Any]:
    """Values for the columns of what came over the wire."""
    columns = dict(given)
    for name in ("from_time", "to_time"):
        if columns.get(name) is not None:
            columns[name] = time.fromisoformat(columns[name])
    if columns.get("weekdays") is not None:
        columns["weekdays"] = sorted(set(columns["weekdays"]))
    return columns


async def open_row(session: AsyncSession, caller: Caller, table: type[Row], *, staff_id: UUID, **given: Any) -> Row:
    """A new shift, or entry of the rota, of a member of staff. Raises: StaffNotFound, DatesReversed, TooManyRows."""
    await communities.lock(session, caller)
    member = await staff.get(session, caller, staff_id)
    ours = select(func.count()).select_from(table).where(table.community_id == caller.community_id)
    if (await session.scalar(ours) or 0) >= ROWS_MAX:
        raise TooManyRows
    row = table(community_id=caller.community_id, staff_id=member.id, **columns_of(given))
    check_dates(row)
    session.add(row)
    await session.flush()
    return row


def check_dates(pattern: Pattern) -> None:
    """Raises DatesReversed."""
    if pattern.from_date and pattern.to_date and pattern.to_date < pattern.from_date:
        raise DatesReversed


NULLABLE = frozenset({"weekdays", "from_date", "to_date"})


def apply(row: Recurring, changes: Mapping[str, Any]) -> None:
    """Set what was given; null takes away what may be without. Raises DatesReversed."""
    for name, value in columns_of(changes).items():
        if value is not None or name in NULLABLE:
            setattr(row, name, value)
    check_dates(row)


def around(table: type[Recurring], day: date) -> Any:
    """A condition for rows whose dates leave open that they cover a moment of this local day."""
    return or_(table.from_date.is_(None), table.from_date <= day) & or_(
        table.to_date.is_(None), table.to_date >= day - timedelta(days=1)
    )


async def wall_clock(session: AsyncSession, community_id: UUID, at: datetime) -> datetime:
    """The moment in the community's time zone. The transaction's tenant names the company too.

    Raises: CommunityNotFound, MomentOutOfRange.
    """
    name = await session.scalar(select(Community.timezone).where(Community.id == community_id))
    if name is None:
        raise CommunityNotFound
    try:
        wall = at.astimezone(UTC).astimezone(ZoneInfo(name))
    except OverflowError:
        raise MomentOutOfRange from None
    if wall.date() == date.min:
        # What began the day before is looked at too.
        raise MomentOutOfRange
    return wall

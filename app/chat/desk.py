"""When somebody of the staff is there, and what a resident who asks for a person is told of it."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from sqlalchemy import select
from sqlalchemy.ext.asyncio import AsyncSession

from app.chat.tables import Conversation
from app.chat.texts import Text, say
from app.people import communities
from app.people.local_time import clock
from app.people.tables import Community
from app.service_desk import deadlines, working_time

CALL_BACK = timedelta(hours=2)
"""Within so long somebody calls back who could not be had at once; counted from the opening where it is closed."""


@dataclass(frozen=True)
class Desk:
    """When somebody is there: since or from `opens_at` on, by the community's working hours and holidays."""

    opens_at: datetime
    is_open: bool
    zone: ZoneInfo
    wait: timedelta
    phone: str

    @property
    def look_again_at(self) -> datetime:
        """When a person should have come."""
        return self.opens_at + self.wait

    @property
    def call_back_by(self) -> datetime:
        return self.opens_at + CALL_BACK

    def facts(self, language: str) -> dict[str, Any]:
        """What the texts have blanks for."""
        call = say(Text.URGENT_CALL, language, phone=self.phone) if self.phone else ""
        times = {"opens": self.opens_at, "due": self.call_back_by}
        shown = {name: clock(at, self.zone, language) for name, at in times.items()}
        return {"minutes": round(self.wait.total_seconds() / 60), "call": call, **shown}


async def desk_of(session: AsyncSession, conversation: Conversation, *, now: datetime) -> Desk:
    settings = await communities.read_settings(session, conversation.community_id)
    zone = select(Community.timezone).where(Community.id == conversation.community_id)
    calendar = deadlines.calendar_of((await session.scalars(zone)).one(), settings)
    # An office that never opens cannot be waited for: then it counts as open.
    begins, _ = next(working_time.intervals(calendar, now), (now, now))
    wait = timedelta(minutes=settings.handoff_wait_minutes)
    return Desk(begins, begins <= now, calendar.zone, wait, settings.emergency_phone or settings.service_phone)


def both(text: Text, desk: Desk | None = None, **facts: Any) -> dict[str, str]:
    """A text in both languages, its blanks filled."""
    blanks = {language: (desk.facts(language) if desk else {}) | facts for language in ("zh", "en")}
    return {language: say(text, language, **blanks[language]) for language in blanks}

"""Times and days as callers send them: text, as OpenAPI says, and within what Postgres can hold."""

from datetime import UTC, date, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator


def as_text(value: Any) -> Any:
    """A bare number, which in a query is text, too, would be taken for seconds since 1970, and nobody means that."""
    try:
        float(value)
    except (TypeError, ValueError):
        return value
    raise ValueError("a time is written as text, 2026-11-22T10:00:00+08:00, and a day as 2026-11-22")


def within_range(at: datetime) -> datetime:
    """In UTC; a time that is none there, near the end of the calendar, becomes the nearest."""
    try:
        return at.astimezone(UTC)
    except OverflowError:
        return datetime(9999 if at.year > 5000 else 1, 1, 1, tzinfo=UTC)


Moment = Annotated[AwareDatetime, BeforeValidator(as_text), AfterValidator(within_range)]
Day = Annotated[date, BeforeValidator(as_text)]

"""Times as callers send them: text with a zone, as OpenAPI says, and within what Postgres can hold."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BeforeValidator


def as_text(value: Any) -> Any:
    """A bare number would be taken for seconds since 1970, and nobody means that."""
    if isinstance(value, int | float):
        raise ValueError("a time is written as text, 2026-11-22T10:00:00+08:00")
    return value


def within_range(at: datetime) -> datetime:
    """In UTC; a time that is none there, near the end of the calendar, becomes the nearest."""
    try:
        return at.astimezone(UTC)
    except OverflowError:
        return datetime(9999 if at.year > 5000 else 1, 1, 1, tzinfo=UTC)


Moment = Annotated[AwareDatetime, BeforeValidator(as_text), AfterValidator(within_range)]

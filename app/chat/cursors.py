"""Pages by last activity: after this time and this id. Rows that become active meanwhile move to the front."""

import base64
import binascii
import struct
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.rest.pages import CursorInvalid

FORM = struct.Struct(">q16s")
START = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def encode(at: datetime, row_id: UUID) -> str:
    packed = FORM.pack((at - START) // MICROSECOND, row_id.bytes)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode(cursor: str) -> tuple[datetime, UUID]:
    """Raises CursorInvalid."""
    try:
        microseconds, row_id = FORM.unpack(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        found = START + microseconds * MICROSECOND, UUID(bytes=row_id)
    except (ValueError, binascii.Error, struct.error, OverflowError):
        raise CursorInvalid from None
    # The decoder skips what it does not know; only what we wrote counts.
    if encode(*found) != cursor:
        raise CursorInvalid
    return found

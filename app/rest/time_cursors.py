"""Cursors of lists that go by a time, and by id within one: the place of the last row, and of which list it is.

Rows whose time changes meanwhile move to where they belong now.
"""

import base64
import binascii
import struct
from datetime import UTC, datetime, timedelta
from uuid import UUID

from app.rest.pages import CursorInvalid

FORM = struct.Struct(">cq16s")
START = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def encode(mark: bytes, at: datetime, row_id: UUID) -> str:
    """`mark`: one byte that tells the orders of a resource apart, so that a cursor of one is none of another."""
    packed = FORM.pack(mark, (at - START) // MICROSECOND, row_id.bytes)
    return base64.urlsafe_b64encode(packed).decode().rstrip("=")


def decode(mark: bytes, cursor: str) -> tuple[datetime, UUID]:
    """Raises CursorInvalid."""
    try:
        _, microseconds, row_id = FORM.unpack(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
        found = START + microseconds * MICROSECOND, UUID(bytes=row_id)
    except (ValueError, binascii.Error, struct.error, OverflowError):
        raise CursorInvalid from None
    # The decoder skips what it does not know; only what we wrote counts.
    if encode(mark, *found) != cursor:
        raise CursorInvalid
    return found

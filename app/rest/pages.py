"""Pages by cursor. Ids are time-ordered, so a page is "after this id": stable while rows arrive."""

import base64
import binascii
from typing import Annotated, Any, Generic, TypeVar
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, Field
from sqlalchemy import Select
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import Invalid

Row = TypeVar("Row")
Out = TypeVar("Out", bound=BaseModel)

PAGE_ROWS_DEFAULT, PAGE_ROWS_MAX = 50, 200


class CursorInvalid(Invalid):
    code = "cursor_invalid"

    def __init__(self) -> None:
        super().__init__("This cursor is not one of ours.", "分页标记无效。")


class Page(BaseModel, Generic[Out]):
    """`next_cursor` is null on the last page."""

    items: list[Out]
    next_cursor: str | None = Field(None, examples=["AZq8m3FvfXCQ"])


class PageQuery(BaseModel):
    cursor: str | None = None
    limit: int = PAGE_ROWS_DEFAULT


def page_query(
    cursor: Annotated[str | None, Query(max_length=100, description="`next_cursor` of the page before.")] = None,
    limit: Annotated[int, Query(ge=1, le=PAGE_ROWS_MAX)] = PAGE_ROWS_DEFAULT,
) -> PageQuery:
    return PageQuery(cursor=cursor, limit=limit)


def encode_cursor(row_id: UUID) -> str:
    return base64.urlsafe_b64encode(row_id.bytes).decode().rstrip("=")


def decode_cursor(cursor: str) -> UUID:
    """Raises CursorInvalid."""
    try:
        row_id = UUID(bytes=base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (ValueError, binascii.Error):
        raise CursorInvalid from None
    # The decoder skips what it does not know; only what we wrote counts.
    if encode_cursor(row_id) != cursor:
        raise CursorInvalid
    return row_id


async def fetch_page(
    session: AsyncSession, statement: Select[Any], *, id_column: Any, query: PageQuery, newest_first: bool = False
) -> tuple[list[Any], str | None]:
    """One page of a statement's first column and the cursor of the next page, ordered by the time-ordered id."""
    if query.cursor:
        after = decode_cursor(query.cursor)
        statement = statement.where(id_column < after if newest_first else id_column > after)
    ordered = statement.order_by(id_column.desc() if newest_first else id_column).limit(query.limit + 1)
    rows = list((await session.scalars(ordered)).all())
    more = len(rows) > query.limit
    rows = rows[: query.limit]
    return rows, encode_cursor(rows[-1].id) if more else None

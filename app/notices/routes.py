"""Messages of a person, and the channels and deliveries of a community, over REST."""

from typing import Annotated
from uuid import UUID

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy.ext.asyncio import AsyncSession

from app.notices import channel_list, deliveries
from app.notices.schemas import (
    AttemptOut,
    ChannelChange,
    ChannelIn,
    ChannelMade,
    ChannelOut,
    DeliveryOut,
    DeliveryShown,
    MessageOut,
    ReadIn,
    ReadOut,
    UnreadOut,
)
from app.notices.tables import Delivery, DeliveryStatus, Message, NoticeChannel
from app.people.callers import Caller, SessionDep, require, require_in_community
from app.people.doors import DoorRoute
from app.rest.etags import IfMatch, etag_of, if_match_of
from app.rest.pages import Page, PageQuery, fetch_page, page_query
from app.runtime import RuntimeDep

router = APIRouter()
mine = APIRouter(prefix="/me/messages", tags=["messages"], route_class=DoorRoute)
house = APIRouter(prefix="/communities/{cid}", tags=["deliveries"], route_class=DoorRoute)

PageDep = Annotated[PageQuery, Depends(page_query)]
IfMatchDep = Annotated[IfMatch, Depends(if_match_of)]
Reader = Annotated[Caller, Depends(require("messages:read"))]
DeliveryReader = Annotated[Caller, Depends(require_in_community("deliveries:read"))]
DeliveryWriter = Annotated[Caller, Depends(require_in_community("deliveries:write"))]


@mine.get("")
async def get_messages(
    caller: Reader, session: SessionDep, page: PageDep,
    unread: Annotated[bool, Query(alias="filter[unread]", description="Only what was not read yet.")] = False,
) -> Page[MessageOut]:  # fmt: skip
    """What you were told, newest first."""
    statement = deliveries.visible_to(caller)
    if unread:
        statement = statement.where(Message.read_at.is_(None))
    rows, cursor = await fetch_page(session, statement, id_column=Message.id, query=page, newest_first=True)
    return Page(items=[MessageOut.model_validate(row) for row in rows], next_cursor=cursor)


@mine.get("/unread")
async def get_unread(caller: Reader, session: SessionDep) -> UnreadOut:
    """How many you have not read."""
    return UnreadOut(unread=await deliveries.unread_count(session, caller))


@mine.post("/read")
async def post_read(body: ReadIn, caller: Reader, session: SessionDep, runtime: RuntimeDep) -> ReadOut:
    """Mark many as read at once."""
    if body.up_to is not None:
        await deliveries.get(session, caller, body.up_to)
    return ReadOut(marked=await deliveries.mark_read(session, caller, now=runtime.clock(), up_to=body.up_to))


@mine.get("/{message_id}")
async def get_message(message_id: UUID, caller: Reader, session: SessionDep) -> MessageOut:
    return MessageOut.model_validate(await deliveries.get(session, caller, message_id))


@mine.post("/{message_id}/read")
async def post_message_read(message_id: UUID, caller: Reader, session: SessionDep, runtime: RuntimeDep) -> MessageOut:
    """Mark one as read; one that was read before keeps its time."""
    await deliveries.mark_read(session, caller, now=runtime.clock(), message_id=message_id)
    return MessageOut.model_validate(await deliveries.get(session, caller, message_id))


# Channels


@house.get("/notice-channels")
async def get_channels(caller: DeliveryReader, session: SessionDep, page: PageDep) -> Page[ChannelOut]:
    """Ways out of the house; never a secret."""
    rows, cursor = await fetch_page(session, channel_list.visible_to(caller), id_column=NoticeChannel.id, query=page)
    return Page(items=[ChannelOut.model_validate(row) for row in rows], next_cursor=cursor)


@house.post("/notice-channels", status_code=201)
async def post_channel(
    body: ChannelIn, caller: DeliveryWriter, session: SessionDep, response: Response, runtime: RuntimeDep
) -> ChannelMade:
    """A new channel. The secret is in this answer and nowhere else, so this takes no Idempotency-Key."""
    response.headers["Cache-Control"] = "no-store"
    channel, secret = await channel_list.open_channel(session, runtime, caller, **body.model_dump())
    return ChannelMade(**ChannelOut.model_validate(channel).model_dump(), secret=secret)


@house.get("/notice-channels/{channel_id}")
async def get_channel(channel_id: UUID, caller: DeliveryReader, session: SessionDep, response: Response) -> ChannelOut:
    return _channel_out(response, await channel_list.get(session, caller, channel_id))


@house.patch("/notice-channels/{channel_id}")
async def patch_channel(
    *, channel_id: UUID, body: ChannelChange, caller: DeliveryWriter, session: SessionDep, response: Response,
    runtime: RuntimeDep, if_match: IfMatchDep,
) -> ChannelOut:  # fmt: skip
    """Change what is given. The secret stays: a channel with another secret is another channel."""
    channel = await channel_list.get(session, caller, channel_id, locked=True)
    if_match.check(etag_of(ChannelOut.model_validate(channel)))
    await channel_list.change(session, runtime, channel, body.model_dump(exclude_unset=True, exclude_none=True))
    return _channel_out(response, channel)


@house.delete("/notice-channels/{channel_id}", status_code=204)
async def delete_channel(channel_id: UUID, caller: DeliveryWriter, session: SessionDep) -> None:
    """Take a channel away, with what is still waiting in it."""
    await session.delete(await channel_list.get(session, caller, channel_id, locked=True))


@house.post("/notice-channels/{channel_id}/test", status_code=202)
async def post_channel_test(
    channel_id: UUID, caller: DeliveryWriter, session: SessionDep, runtime: RuntimeDep
) -> ChannelOut:
    """Send yourself a message through it. `/message-deliveries` tells what came of it."""
    channel = await channel_list.get(session, caller, channel_id)
    await channel_list.test(session, runtime, caller, channel)
    return ChannelOut.model_validate(channel)


def _channel_out(response: Response, channel: NoticeChannel) -> ChannelOut:
    shown = ChannelOut.model_validate(channel)
    response.headers["ETag"] = etag_of(shown)
    return shown


# Deliveries


@house.get("/message-deliveries")
async def get_deliveries(
    caller: DeliveryReader, session: SessionDep, page: PageDep,
    status: Annotated[DeliveryStatus | None, Query(alias="filter[status]")] = None,
) -> Page[DeliveryOut]:  # fmt: skip
    """What went out or is on its way, newest first; not what was said."""
    statement = deliveries.deliveries_of(caller, status=status)
    rows, cursor = await fetch_page(session, statement, id_column=Delivery.id, query=page, newest_first=True)
    return Page(items=[DeliveryOut.model_validate(row) for row in rows], next_cursor=cursor)


@house.get("/message-deliveries/{delivery_id}")
async def get_delivery(delivery_id: UUID, caller: DeliveryReader, session: SessionDep) -> DeliveryShown:
    """One delivery with every try."""
    return await _delivery_out(session, await deliveries.get_delivery(session, caller, delivery_id))


@house.post("/message-deliveries/{delivery_id}/retry", status_code=202)
async def post_retry(
    delivery_id: UUID, caller: DeliveryWriter, session: SessionDep, runtime: RuntimeDep
) -> DeliveryShown:
    """Try again what was given up or had no address. One that was sent is not sent twice."""
    return await _delivery_out(session, await deliveries.retry(session, runtime, caller, delivery_id))


async def _delivery_out(session: AsyncSession, delivery: Delivery) -> DeliveryShown:
    tries = [AttemptOut.model_validate(one) for one in await deliveries.attempts_of(session, delivery)]
    return DeliveryShown(**DeliveryOut.model_validate(delivery).model_dump(), tries=tries)


router.include_router(mine)
router.include_router(house)

"""The channels of a community: which services and mail it sends its messages through."""

import secrets
from collections.abc import Mapping
from typing import Any
from uuid import UUID

from sqlalchemy import Select, func, select
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.errors import Conflict, Invalid, NotFound
from app.notices import deliveries, outgoing, sealing
from app.notices.tables import ChannelKind, NoticeChannel
from app.people import communities
from app.people.callers import Caller, CallerKind
from app.runtime import Runtime

CHANNELS_MAX = 10


class ChannelNotFound(NotFound):
    code = "notice_channel_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such channel.", "没有这个通知渠道。")


class TooManyChannels(Conflict):
    code = "too_many_notice_channels"

    def __init__(self) -> None:
        super().__init__(
            f"A community has at most {CHANNELS_MAX} channels.", f"每个小区最多 {CHANNELS_MAX} 个通知渠道。",
            channels_max=CHANNELS_MAX,
        )  # fmt: skip


class UrlMissing(Invalid):
    code = "url_missing"

    def __init__(self) -> None:
        super().__init__(
            "Webhooks, SMS and phone need the URL of the service.", "Webhook、短信和电话渠道需要填写服务网址。"
        )


class UrlNotUsed(Invalid):
    code = "url_not_used"

    def __init__(self) -> None:
        super().__init__("E-mail goes by the SMTP server and has no URL.", "邮件渠道使用 SMTP 服务器，不需要网址。")


class NobodyToTell(Conflict):
    code = "nobody_to_tell"

    def __init__(self) -> None:
        super().__init__(
            "A key is no person who could be told. Sign in as staff.", "API 密钥无法接收消息，请以员工身份登录。"
        )


def visible_to(caller: Caller) -> Select[NoticeChannel]:
    return select(NoticeChannel).where(NoticeChannel.community_id == caller.community_id)


async def get(session: AsyncSession, caller: Caller, channel_id: UUID, *, locked: bool = False) -> NoticeChannel:
    """Raises ChannelNotFound."""
    statement = visible_to(caller).where(NoticeChannel.id == channel_id)
    channel = (await session.scalars(statement.with_for_update() if locked else statement)).one_or_none()
    if channel is None:
        raise ChannelNotFound
    return channel


async def open_channel(
    session: AsyncSession, runtime: Runtime, caller: Caller, *, kind: ChannelKind, url: str, **columns: Any
) -> tuple[NoticeChannel, str]:
    """A new channel, and the secret that signs what goes through it: it can be read now and never again.

    Raises: UrlMissing, UrlNotUsed, TargetRefused, TooManyChannels.
    """
    _check_url(runtime, kind, url)
    await communities.lock(session, caller)
    if (await session.scalar(visible_to(caller).with_only_columns(func.count())) or 0) >= CHANNELS_MAX:
        raise TooManyChannels
    secret = f"lw_{secrets.token_urlsafe(32)}" if url else ""
    channel = NoticeChannel(
        id=CLOCK.new_id(), community_id=caller.community_id, kind=kind, url=url,
        sealed_secret=sealing.seal(runtime.settings, secret), created_at=runtime.clock(), **columns,
    )  # fmt: skip
    session.add(channel)
    await session.flush()
    return channel, secret


async def change(session: AsyncSession, runtime: Runtime, channel: NoticeChannel, changes: Mapping[str, Any]) -> None:
    """Raises: UrlMissing, UrlNotUsed, TargetRefused."""
    if "url" in changes:
        _check_url(runtime, channel.kind, changes["url"])
    for name, value in changes.items():
        setattr(channel, name, value)
    await session.flush()


def _check_url(runtime: Runtime, kind: ChannelKind, url: str) -> None:
    if kind is ChannelKind.EMAIL:
        if url:
            raise UrlNotUsed
        return
    if not url:
        raise UrlMissing
    outgoing.parse_target(runtime.settings, url)


async def test(session: AsyncSession, runtime: Runtime, caller: Caller, channel: NoticeChannel) -> None:
    """Send whoever asks a message through this channel, and through this one only. Raises NobodyToTell."""
    if caller.kind is not CallerKind.STAFF:
        raise NobodyToTell
    await deliveries.tell(
        session, runtime, community_id=caller.community_id, staff_id=caller.id, kind="channel.test",
        title={"zh": "测试消息", "en": "Test message"},
        body={
            "zh": f"这是通过“{channel.name}”发送的测试消息。",
            "en": f'This is a test message through "{channel.name}".',
        },
        key=f"channel.test:{CLOCK.new_id()}", through=channel,
    )  # fmt: skip

"""Requests a minute per caller, counted in Redis for all web processes together."""

import time
from collections import OrderedDict
from ipaddress import IPv6Address, ip_address
from typing import Any

import structlog
from fastapi import Request
from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError
from redis.asyncio import ConnectionPool

from app.errors import RateLimited
from app.runtime import RedisConnection

log = structlog.get_logger(__name__)

ANSWER_SECONDS = 2
"""A limit that Redis does not tell within this time is no limit: requests must not hang on it."""
KNOWN_MAX = 10_000


def address_of(request: Request) -> str:
    """Where a request comes from. Of IPv6 the network: one home has more addresses than there are requests."""
    host = request.client.host if request.client else ""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return "unknown"
    if isinstance(address, IPv6Address):
        return str(address.ipv4_mapped or f"{IPv6Address(int(address) >> 64 << 64)}/64")
    return str(address)


class TooManyRequests(RateLimited):
    code = "too_many_requests"

    def __init__(self, retry_after_seconds: float) -> None:
        super().__init__(
            "Too many requests. Please wait a moment.", "请求太频繁，请稍等片刻。",
            retry_after_seconds=retry_after_seconds,
        )  # fmt: skip


class RateLimits:
    """`check(kind, who, per_minute)` raises TooManyRequests."""

    def __init__(self, redis_url: str) -> None:
        # A pool of our own, since the storage has no way to close the one it would make.
        self._pool = ConnectionPool.from_url(
            redis_url,
            connection_class=RedisConnection,
            socket_connect_timeout=ANSWER_SECONDS,
            socket_timeout=ANSWER_SECONDS,
        )
        options: dict[str, Any] = {"connection_pool": self._pool}
        storage = RedisStorage(f"async+{redis_url}", implementation="redispy", wrap_exceptions=True, **options)
        self._limiter = SlidingWindowCounterRateLimiter(storage)
        self._known: OrderedDict[str, None] = OrderedDict()

    def knows(self, who: str) -> bool:
        """Whether this was seen to be good before, so that it may have a limit of its own."""
        return who in self._known

    def remember(self, who: str) -> None:
        self._known[who] = None
        self._known.move_to_end(who)
        if len(self._known) > KNOWN_MAX:
            self._known.popitem(last=False)

    async def close(self) -> None:
        await self._pool.disconnect()

    async def check(self, kind: str, who: str, *, per_minute_max: int) -> None:
        item = RateLimitItemPerMinute(per_minute_max)
        try:
            if await self._limiter.hit(item, kind, who):
                return
            window = await self._limiter.get_window_stats(item, kind, who)
        except StorageError as error:
            # Without Redis nobody is locked out: a resident in need matters more than a limit.
            log.warning("rate_limit_unavailable", error=repr(error))
            return
        raise TooManyRequests(max(1.0, window.reset_time - time.time()))

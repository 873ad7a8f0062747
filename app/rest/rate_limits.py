"""Requests a minute per caller, counted in Redis for all web processes together."""

import time

import structlog
from limits import RateLimitItemPerMinute
from limits.aio.storage import RedisStorage
from limits.aio.strategies import SlidingWindowCounterRateLimiter
from limits.errors import StorageError

from app.errors import RateLimited

log = structlog.get_logger(__name__)


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
        storage = RedisStorage(f"async+{redis_url}", implementation="redispy", wrap_exceptions=True)
        self._limiter = SlidingWindowCounterRateLimiter(storage)

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

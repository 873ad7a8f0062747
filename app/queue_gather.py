"""Script calls that travel together."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any


class Gathered:
    """Calls of one script: those made while one is under way leave together as the next, in one round trip.

    A lone call is not delayed; a burst costs a fraction of one call each.
    """

    CALLS_MAX = 128

    def __init__(self, send: Callable[[list[str | int]], Awaitable[list[Any]]]) -> None:
        self._send = send
        self._waiting: list[tuple[tuple[str | int, ...], asyncio.Future[Any]]] = []
        self._under_way = False
        self._task: asyncio.Task[None] | None = None

    async def call(self, args: tuple[str | int, ...]) -> Any:
        if self._under_way:
            future = asyncio.get_running_loop().create_future()
            self._waiting.append((args, future))
            return await future
        self._under_way = True
        try:
            [reply] = await self._send(list(args))
        finally:
            if self._waiting:
                self._task = asyncio.create_task(self._send_waiting())
            else:
                self._under_way = False
        return reply

    async def _send_waiting(self) -> None:
        while self._waiting:
            calls, self._waiting = self._waiting[: self.CALLS_MAX], self._waiting[self.CALLS_MAX :]
            # Whoever gave up waiting may have done something else instead.
            calls = [call for call in calls if not call[1].done()]
            if not calls:
                continue
            try:
                replies = await self._send([value for args, _ in calls for value in args])
            except Exception as error:
                # Whatever it is, it belongs to those who wait for an answer.
                replies = [error] * len(calls)
            for (_, future), reply in zip(calls, replies, strict=True):
                if future.done():
                    continue
                if isinstance(reply, Exception):
                    future.set_exception(reply)
                else:
                    future.set_result(reply)
        self._under_way = False

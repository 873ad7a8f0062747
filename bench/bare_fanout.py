"""The usual way to fan events out: FastAPI, a StreamingResponse and a bounded queue per client. Our peer."""

import asyncio
from collections.abc import AsyncIterator

from fastapi import FastAPI, Response
from fastapi.responses import StreamingResponse

app = FastAPI()
queues: set[asyncio.Queue[bytes]] = set()


@app.get("/events")
async def follow() -> StreamingResponse:
    queue: asyncio.Queue[bytes] = asyncio.Queue(100)
    queues.add(queue)

    async def events() -> AsyncIterator[bytes]:
        try:
            while True:
                yield await queue.get()
        finally:
            queues.discard(queue)

    queue.put_nowait(b"data: welcome\n\n")
    return StreamingResponse(events(), media_type="text/event-stream")


@app.get("/healthz")
async def healthy() -> Response:
    return Response()


@app.get("/say")
async def say() -> Response:
    """One event to everybody."""
    for queue in queues:
        queue.put_nowait(b"id: 1\nevent: token\ndata: {}\n\n")
    return Response()

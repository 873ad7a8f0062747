"""`Idempotency-Key`: a create that is sent twice creates once, and both get the same answer."""

from hashlib import sha256
from typing import Annotated
from uuid import UUID

from fastapi import Depends, Header, Request, Response
from pydantic import BaseModel
from sqlalchemy import select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.errors import Invalid
from app.rest.tables import IdempotencyKey


class KeyReused(Invalid):
    code = "idempotency_key_reused"

    def __init__(self) -> None:
        super().__init__(
            "This Idempotency-Key was used for another request.", "该 Idempotency-Key 已用于另一个不同的请求。"
        )


class Once:
    """The idempotency of one request: `replay` first, `keep` the answer at the end, both in the request's transaction.

    Without the header both do nothing. Two requests with one key at the same moment wait for each other on the
    unique index, so the second sees the first one's answer or, if that rolled back, takes its place.
    """

    def __init__(self, request: Request, key: str | None, request_sha256: str) -> None:
        self._request = request
        self._route = f"{request.method} {request.url.path}"
        self._key = key
        self._sha256 = request_sha256
        self._row_id: UUID | None = None

    async def replay(self, session: AsyncSession, community_id: UUID, caller_key: str) -> Response | None:
        """The answer given before, or None for a first request. Raises KeyReused when the body differs."""
        if self._key is None:
            return None
        same = {"community_id": community_id, "caller_key": caller_key, "route": self._route, "key": self._key}
        claim = (
            insert(IdempotencyKey)
            .values(id=CLOCK.new_id(), request_sha256=self._sha256, **same)
            .on_conflict_do_nothing()
            .returning(IdempotencyKey.id)
        )
        self._row_id = await session.scalar(claim)
        if self._row_id is not None:
            return None
        before = (await session.scalars(select(IdempotencyKey).filter_by(**same))).one()
        if before.request_sha256 != self._sha256:
            raise KeyReused
        assert before.status is not None, "a kept key has its answer, they commit together"
        # Nothing is done now, so there is nothing to audit.
        self._request.state.replayed = True
        return Response(
            before.body, status_code=before.status, media_type="application/json",
            headers={"Idempotency-Replayed": "true"},
        )  # fmt: skip

    async def keep(self, session: AsyncSession, status: int, answer: BaseModel) -> Response:
        """The response to send, remembered for a retry. An answer with a secret must not be kept."""
        body = answer.model_dump_json()
        self._request.state.kept = answer
        if self._row_id is not None:
            await session.execute(
                update(IdempotencyKey).where(IdempotencyKey.id == self._row_id).values(status=status, body=body)
            )
        return Response(body, status_code=status, media_type="application/json")


async def once_of(
    request: Request,
    idempotency_key: Annotated[
        str | None,
        Header(min_length=1, max_length=200, description="Makes a retry safe: same key, same body, same answer."),
    ] = None,
) -> Once:
    digest = sha256(await request.body()).hexdigest() if idempotency_key else ""
    return Once(request, idempotency_key, digest)


OnceDep = Annotated[Once, Depends(once_of)]

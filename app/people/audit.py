"""The audit log: who changed what, and who saw whose data. A row commits with what it records, or neither does.

It is written at the edge, once for all routes. The door (doors.py) notes what a request is about, the session's end
(`callers.session_of`) writes the row: for every write, and for every read whose answer showed somebody's personal data
to somebody else (personal.py). Replayed and refused requests write none. What works without the request's session
(signing in, jobs) writes its row with `note`. Names of changed fields are kept and never their values; of an address
the network only. The app's role may add rows and read them; nothing changes or deletes one but the owner's purge.

A resident's turns of chat stay out: the turn is itself the record, kept with its times and its trace.
"""

import json
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from ipaddress import ip_address, ip_network
from typing import TYPE_CHECKING, Any
from uuid import UUID

from fastapi import Request
from pydantic import BaseModel
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from app.clock import CLOCK
from app.people.personal import Whose, ids_shown

if TYPE_CHECKING:
    from collections.abc import Iterator

    from app.people.callers import Caller

OWN_RECORD: dict[str, str] = {
    "recommend.me.post_my_recommendation_feedback": "the events are the record",
    "chat.post_conversation": "an empty conversation of one's own",
    "chat.post_turn": "the turn is the record",
    "chat.stop_turn": "the turn is the record",
    "chat.openai_api.post_chat_completion": "the turn is the record",
    "knowledge.post_search": "a search changes nothing",
    "service_desk.triage.post_triage": "a preview writes nothing",
    "people.sign_in.post_refresh": "the family of tokens is the record; nobody decided anything",
}
"""Operations that are no reads and write no audit row, and why."""

READS_BY_POST = frozenset({"chat.inbox.filter_conversations"})
"""Operations that only look, by a method that writes."""

FIELDS_MAX = 50
IPV4_PREFIX, IPV6_PREFIX = 24, 48


@dataclass(slots=True)
class Sight:
    """What is known of a request by the time its transaction ends.

    `named` are residents in the path, `residents` those whom the feature said it is about.
    """

    action: str
    reads: bool
    object_kind: str
    object_id: UUID | None
    request_id: str = ""
    network: str = ""
    named: set[UUID] = field(default_factory=set)
    residents: set[UUID] = field(default_factory=set)
    fields: list[str] = field(default_factory=list)
    shown: Any = None


CURRENT: ContextVar[Sight | None] = ContextVar("audited_request", default=None)


@contextmanager
def watching(request: Request, action: str) -> "Iterator[None]":
    """While the block runs, what is done belongs to this request."""
    object_kind, object_id = object_of(request)
    sight = Sight(
        action=action, reads=request.method in ("GET", "HEAD") or action in READS_BY_POST,
        object_kind=object_kind, object_id=object_id,
        request_id=getattr(request.state, "request_id", ""),
        network=network_of(request.client.host if request.client else ""),
        named={named} if (named := _uuid(request.path_params.get("resident_id"))) else set(),
    )  # fmt: skip
    request.state.sight = sight
    token = CURRENT.set(sight)
    try:
        yield
    finally:
        CURRENT.reset(token)


def noting(endpoint: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """The endpoint, which leaves what it was sent and what it shows with the request."""
    if hasattr(endpoint, "noted"):
        return endpoint

    @wraps(endpoint)
    async def noted(**values: Any) -> Any:
        given = await endpoint(**values)
        if (sight := CURRENT.get()) is not None:
            sight.shown = given
            body = values.get("body")
            if isinstance(body, BaseModel):
                sight.fields = sorted(body.model_fields_set)[:FIELDS_MAX]
        return given

    noted.noted = True  # type: ignore[attr-defined]  # a router that includes another may wrap again
    return noted


def about(*resident_ids: UUID | None) -> None:
    """Say that the answer tells of these residents, where it does not name them itself."""
    if (sight := CURRENT.get()) is not None:
        sight.residents |= {one for one in resident_ids if one is not None}


def action_of(endpoint: Callable[..., Any]) -> str:
    """The operation id: people.resident.post_verify. It names the feature, its file of routes, and the function."""
    feature, _, module = endpoint.__module__.removeprefix("app.").partition(".")
    name = module.removesuffix("routes").removesuffix("_")
    return ".".join(part for part in (feature, name, endpoint.__name__) if part)


def object_of(request: Request) -> tuple[str, UUID | None]:
    """Kind and id of what the path names last: /residents/{resident_id}/verify is about a resident."""
    named = [(name, value) for name, value in request.path_params.items() if name not in ("cid", "path")]
    if named:
        name, value = named[-1]
        return name.removesuffix("_id"), _uuid(value)
    return singular(request.url.path.rstrip("/").rsplit("/", 1)[-1]), None


def singular(collection: str) -> str:
    """residents → resident, categories → category."""
    name = collection.replace("-", "_")
    if name.endswith("ies"):
        return f"{name[:-3]}y"
    return name[:-1] if name.endswith("s") and not name.endswith("ss") else name


def network_of(host: str) -> str:
    """The network of an address: tells a stranger from the office, and not one home from the next."""
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return ""
    if address.version == 6 and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    prefix = IPV4_PREFIX if address.version == 4 else IPV6_PREFIX
    return str(ip_network((address, prefix), strict=False))


async def record(session: AsyncSession, request: Request, caller: "Caller") -> None:
    """Write the row of this request, if it has one, into its own transaction."""
    sight: Sight | None = getattr(request.state, "sight", None)
    if sight is None or sight.action in OWN_RECORD or getattr(request.state, "replayed", False):
        return
    shown = getattr(request.state, "kept", sight.shown)
    seen = ids_shown(shown)
    seen.setdefault(Whose.RESIDENT, set()).update(sight.named, sight.residents)
    if sight.reads and not _of_others(seen, caller):
        return
    object_id = sight.object_id or (None if sight.reads else _uuid(getattr(shown, "id", None)))
    await _write(
        session, caller, kind="read" if sight.reads else "write", action=sight.action, object_kind=sight.object_kind,
        object_id=object_id, residents=seen[Whose.RESIDENT], households=seen.get(Whose.HOUSEHOLD, ()),
        fields=sight.fields, facts={}, sight=sight,
    )  # fmt: skip


def _of_others(seen: Mapping[Whose, set[UUID]], caller: "Caller") -> bool:
    """Whether somebody else's data was shown. What residents see of their own household and orders is theirs."""
    if caller.kind == "resident":
        return bool(seen[Whose.RESIDENT] - {caller.id})
    return any(ids - {caller.id} for ids in seen.values())


async def note(
    session: AsyncSession, caller: "Caller", *, action: str, object_kind: str, object_id: UUID | None,
    facts: Mapping[str, Any] | None = None, residents: Iterable[UUID] = (), reads: bool = False,
) -> None:  # fmt: skip
    """Write a row for work outside a request's own session: jobs, sweeps, signing in."""
    await _write(
        session, caller, kind="read" if reads else "write", action=action, object_kind=object_kind,
        object_id=object_id, residents=residents, households=(), fields=(), facts=facts or {}, sight=CURRENT.get(),
    )  # fmt: skip


# Those who were deleted just now are told all the same: their ids were in the path. Other ids count as far as they are
# residents' (who reported an order may be staff), and households as those who live in them now.
INSERT = text("""
    INSERT INTO audit_events (id, community_id, kind, action, object_kind, object_id, caller_kind, caller_id,
                              caller_name, caller_roles, request_id, network, fields, facts, residents)
    VALUES (:id, :community_id, :kind, :action, :object_kind, :object_id, :caller_kind, :caller_id,
            :caller_name, CAST(:caller_roles AS varchar[]), :request_id, :network, CAST(:fields AS varchar[]),
            CAST(:facts AS jsonb), ARRAY(
                SELECT unnest(CAST(:named AS uuid[]))
                UNION SELECT r.id FROM residents r WHERE r.id = ANY(CAST(:residents AS uuid[]))
                UNION SELECT r.resident_id FROM residencies r WHERE r.household_id = ANY(CAST(:households AS uuid[]))
            ))
""")


async def _write(
    session: AsyncSession, caller: "Caller", *, kind: str, action: str, object_kind: str, object_id: UUID | None,
    residents: Iterable[UUID], households: Iterable[UUID], fields: Iterable[str], facts: Mapping[str, Any],
    sight: Sight | None,
) -> None:  # fmt: skip
    await session.flush()
    await session.execute(
        INSERT,
        {
            "id": CLOCK.new_id(), "community_id": caller.community_id, "kind": kind, "action": action,
            "object_kind": object_kind, "object_id": object_id, "caller_kind": str(caller.kind),
            "caller_id": caller.id, "caller_name": caller.name, "caller_roles": sorted(map(str, caller.roles)),
            "request_id": sight.request_id if sight else "", "network": sight.network if sight else "",
            "fields": list(fields), "facts": json.dumps(dict(facts), ensure_ascii=False, default=str),
            "named": list(sight.named) if sight else [], "residents": list(residents),
            "households": list(households),
        },
    )  # fmt: skip


def _uuid(value: Any) -> UUID | None:
    if isinstance(value, UUID):
        return value
    try:
        return UUID(value)
    except (ValueError, TypeError, AttributeError):
        return None

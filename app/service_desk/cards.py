"""Emergency cards 应急卡: whom to call, what to do, what not to do. Approved words, never a model's.

A community has the built-in cards until it words its own. Telephone numbers are its settings: a line whose number
nobody has set is left out, and the lines of a list are numbered anew.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import yaml
from sqlalchemy import Select, select
from sqlalchemy.dialects.postgresql import distinct_on
from sqlalchemy.ext.asyncio import AsyncSession

from app.errors import Invalid, NotFound
from app.people.callers import Caller
from app.people.community_settings import BUILT_IN
from app.people.tables import Community, Organisation
from app.safety.emergencies import EmergencyKind
from app.service_desk.emergency_tables import EmergencyCard

OTHER = "other"
"""The card for somebody in need of whom nobody knows what happened."""
KINDS = (*(str(kind) for kind in EmergencyKind), OTHER)
PHONES: dict[str, str] = {name: value for name, value in BUILT_IN.items() if name.endswith("_phone")}
"""Settings that a card may name, with the number where nobody has set one."""
NAMED = re.compile(r"\{(\w*)\}")
NUMBERED = re.compile(r"^(\s*)\d+[.、]\s*")
LANGUAGES = ("zh", "en")


class CardNotFound(NotFound):
    code = "emergency_card_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such emergency card.", "没有这张应急卡。")


class CardPhoneUnknown(Invalid):
    code = "emergency_card_phone_unknown"

    def __init__(self, name: str) -> None:
        super().__init__(
            f"{{{name}}} is no telephone number of the settings.",
            f"{{{name}}} 不是设置中的电话。",
            known=sorted(PHONES),
        )


class CardWithoutPhone(Invalid):
    code = "emergency_card_without_phone"

    def __init__(self) -> None:
        super().__init__("A card must say whom to call.", "应急卡必须写明拨打哪个电话。")


@dataclass(frozen=True)
class BuiltIn:
    title: Mapping[str, str]
    text: Mapping[str, str]


@dataclass(frozen=True)
class Card:
    """A card in force. `version` is 0 for a built-in one that was never changed."""

    id: UUID
    kind: str
    title: Mapping[str, str]
    text: Mapping[str, str]
    version: int
    built_in: bool
    changed_at: datetime | None = None


@cache
def built_in() -> Mapping[str, BuiltIn]:
    told = yaml.safe_load((Path(__file__).parent / "emergency_cards.yaml").read_text(encoding="utf-8"))
    return {
        kind: BuiltIn(one["title"], {language: one[language].strip() for language in LANGUAGES})
        for kind, one in told.items()
    }


def id_of(community_id: UUID, kind: str) -> UUID:
    """A card has its id before anybody words it."""
    return uuid5(community_id, f"emergency card {kind}")


def visible_to(caller: Caller) -> Select[EmergencyCard]:
    """Every version of the community's own cards."""
    return select(EmergencyCard).where(EmergencyCard.community_id == caller.community_id)


async def in_force(session: AsyncSession, caller: Caller) -> list[Card]:
    """The card of every kind."""
    newest = visible_to(caller).ext(distinct_on(EmergencyCard.kind))
    ordered = newest.order_by(EmergencyCard.kind, EmergencyCard.version.desc())
    own = {row.kind: row for row in await session.scalars(ordered)}
    return [_card(caller.community_id, kind, own.get(kind)) for kind in KINDS]


async def get(session: AsyncSession, caller: Caller, card_id: UUID) -> Card:
    """Raises CardNotFound."""
    kind = next((kind for kind in KINDS if id_of(caller.community_id, kind) == card_id), None)
    if kind is None:
        raise CardNotFound
    statement = visible_to(caller).where(EmergencyCard.kind == kind).order_by(EmergencyCard.version.desc()).limit(1)
    return _card(caller.community_id, kind, (await session.scalars(statement)).one_or_none())


def _card(community_id: UUID, kind: str, own: EmergencyCard | None) -> Card:
    standard = built_in()[kind]
    version = own.version if own else 0
    if own is None or not (own.text_zh or own.text_en):
        changed_at = own.created_at if own else None
        return Card(
            id_of(community_id, kind), kind, standard.title, standard.text, version, built_in=True,
            changed_at=changed_at,
        )  # fmt: skip
    text = {"zh": own.text_zh or standard.text["zh"], "en": own.text_en or standard.text["en"]}
    return Card(
        id_of(community_id, kind), kind, standard.title, text, version, built_in=False, changed_at=own.created_at
    )


async def change(
    session: AsyncSession, caller: Caller, card: Card, *, text_zh: str | None, text_en: str | None, now: datetime
) -> Card:
    """A new version in the words given; a language left out keeps its own.

    Raises: CardPhoneUnknown, CardWithoutPhone.
    """
    before = {} if card.built_in else card.text
    words = {"zh": text_zh or before.get("zh", ""), "en": text_en or before.get("en", "")}
    for text in (text_zh, text_en):
        if text is not None:
            check_text(text)
    return await _add(session, caller, card, words, now)


async def reset(session: AsyncSession, caller: Caller, card: Card, *, now: datetime) -> Card:
    """The built-in card again, as a version of its own."""
    return card if card.built_in else await _add(session, caller, card, {"zh": "", "en": ""}, now)


async def _add(session: AsyncSession, caller: Caller, card: Card, words: Mapping[str, str], now: datetime) -> Card:
    row = EmergencyCard(
        community_id=caller.community_id, kind=card.kind, version=card.version + 1, text_zh=words["zh"],
        text_en=words["en"], created_by=caller.id, created_at=now,
    )  # fmt: skip
    session.add(row)
    await session.flush()
    return _card(caller.community_id, card.kind, row)


def check_text(text: str) -> None:
    """Raises CardPhoneUnknown, CardWithoutPhone."""
    names = NAMED.findall(text)
    for name in names:
        if name not in PHONES:
            raise CardPhoneUnknown(name)
    if not names and not re.search(r"\d{3}", text):
        raise CardWithoutPhone


async def read(session: AsyncSession, caller: Caller, kind: str, language: str) -> str:
    """The card in force for this kind, as a resident is to read it. One statement."""
    newest = (
        select(EmergencyCard)
        .where(EmergencyCard.community_id == caller.community_id, EmergencyCard.kind == kind)
        .order_by(EmergencyCard.version.desc())
        .limit(1)
        .subquery()
    )
    statement = (
        select(Community.overrides, Organisation.defaults, newest.c.text_zh, newest.c.text_en)
        .select_from(Community)
        .outerjoin(Organisation, Organisation.id == Community.organisation_id)
        .outerjoin(newest, newest.c.kind == kind)
        .where(Community.id == caller.community_id)
    )
    row = (await session.execute(statement)).one()
    own = row.text_zh if language == "zh" else row.text_en
    return written(kind, language, phones_of(row.overrides, row.defaults or {}), own=own or "")


def standard(kind: str, language: str) -> str:
    """The built-in card with the numbers that hold everywhere, for when the community's own cannot be read."""
    return written(kind, language, phones_of({}, {}))


def phones_of(overrides: Mapping[str, Any], defaults: Mapping[str, Any]) -> dict[str, str]:
    """The numbers that hold in a community."""
    told = {name: str(overrides.get(name) or defaults.get(name) or built_in) for name, built_in in PHONES.items()}
    return told | {"emergency_phone": told["emergency_phone"] or told["service_phone"]}


def written(kind: str, language: str, phones: Mapping[str, str], *, own: str = "") -> str:
    """Title and lines, with the numbers in their places. `own` is the community's wording."""
    standard = built_in()[kind]
    title = standard.title[language]
    heading = f"【{title}】" if language == "zh" else f"{title}"
    lines, number = [heading], 0
    for line in (own or standard.text[language]).splitlines():
        wanted = NAMED.findall(line)
        if wanted and not any(phones.get(name) for name in wanted):
            continue
        shown = NAMED.sub(lambda match: phones.get(match.group(1), ""), line)
        numbered = NUMBERED.match(shown)
        number = number + 1 if numbered else 0
        lines.append(NUMBERED.sub(rf"\g<1>{number}. ", shown) if numbered else shown)
    return "\n".join(lines)

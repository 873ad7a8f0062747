"""Versions of a community's ranker: which is live, its file checked and kept in memory, and the way back."""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from uuid import UUID

import numpy as np
import structlog
from numpy.typing import NDArray
from prometheus_client import Counter
from sqlalchemy import Select, select, update
from sqlalchemy.dialects.postgresql import insert
from sqlalchemy.ext.asyncio import AsyncSession

from app import file_storage
from app.errors import AppError
from app.people.callers import Caller
from app.recommend.catalogue import Catalogue
from app.recommend.errors import NothingToRollBackTo, RankerNotFound, RankerNotUsable
from app.recommend.tables import RankerStatus, RankerVersion, RecommendationState
from app.runtime import Runtime
from app.settings import Settings
from models import ranker as ranker_model
from models.ranker import Ranker
from models.versions import WeightsDamaged

log = structlog.get_logger(__name__)

NOT_LOADED = Counter(
    "linli_ranker_not_loaded_total", "Times a live ranker's file was missing, damaged or out of reach."
)
USABLE = (RankerStatus.CANDIDATE, RankerStatus.LIVE, RankerStatus.RETIRED)
RETRY_SECONDS = 60.0
"""A file that could not be read is not asked for again with every request."""


@dataclass(slots=True, eq=False)
class Loaded:
    """A ranker in memory. Shapes: to_catalogue (n,) codes of the catalogue, -1 for items that are not in it."""

    number: int
    ranker: Ranker
    to_catalogue: NDArray[np.int32]
    catalogue: Catalogue
    from_catalogue: NDArray[np.int32]

    def codes_of(self, codes: NDArray[np.int32]) -> NDArray[np.int32]:
        """The ranker's codes of the catalogue's, -1 for what it does not know. Shapes: (m,) -> (m,)."""
        known = codes < len(self.from_catalogue)
        return np.where(known, self.from_catalogue[np.where(known, codes, 0)], -1)


def visible_to(caller: Caller) -> Select[RankerVersion]:
    return select(RankerVersion).where(RankerVersion.community_id == caller.community_id)


async def get(session: AsyncSession, caller: Caller, version_id: UUID) -> RankerVersion:
    """Raises RankerNotFound."""
    found = (await session.scalars(visible_to(caller).where(RankerVersion.id == version_id))).one_or_none()
    if found is None:
        raise RankerNotFound
    return found


def key_of(community_id: UUID, digest: str) -> str:
    return f"rankers/{community_id}/{digest}.npz"


async def read_file(settings: Settings, version: RankerVersion) -> tuple[bytes, Ranker]:
    """The file of a version, and the ranker in it. Raises WeightsDamaged, and what file_storage.get does."""
    if version.file_key is None:
        raise WeightsDamaged(f"version {version.number} has no file")
    data = await file_storage.get(settings, version.file_key)
    if (found := sha256(data).hexdigest()) != version.sha256:
        raise WeightsDamaged(f"{version.file_key} has sha256 {found}, written was {version.sha256}")
    return data, ranker_model.load(data)


async def load_live(
    session: AsyncSession, settings: Settings, community_id: UUID, catalogue: Catalogue, *, number: int
) -> Loaded | None:  # fmt: skip
    """The version that is live by its number; None, told to log and meters, when its file cannot be had."""
    statement = select(RankerVersion).where(RankerVersion.community_id == community_id, RankerVersion.number == number)
    version = (await session.scalars(statement)).one_or_none()
    try:
        if version is None:
            raise RankerNotFound
        _, ranker = await read_file(settings, version)
    except (WeightsDamaged, AppError) as error:
        NOT_LOADED.inc()
        log.error("ranker_not_loaded", community_id=str(community_id), number=number, error=str(error))
        return None
    return _loaded(number, ranker, catalogue)


def _loaded(number: int, ranker: Ranker, catalogue: Catalogue) -> Loaded:
    known = {str(item_id): code for item_id, code in catalogue.code_of.items()}
    there = np.fromiter((known.get(one, -1) for one in ranker.item_ids), np.int32, len(ranker.item_ids))
    back = np.full(max(len(catalogue), 1), -1, np.int32)
    back[there[there >= 0]] = np.flatnonzero(there >= 0)
    return Loaded(number, ranker, there, catalogue, back)


async def promote(session: AsyncSession, version: RankerVersion, *, now: datetime) -> None:
    """Make a version the live one. Its file was checked before."""
    live = (RankerVersion.community_id == version.community_id, RankerVersion.status == RankerStatus.LIVE)
    # The state's row is held first, so that two promotions follow each other.
    await _set_live_number(session, version.community_id, version.number)
    await session.execute(update(RankerVersion).where(*live).values(status=RankerStatus.RETIRED))
    version.status, version.promoted_at = RankerStatus.LIVE, now
    await session.flush()


async def go_live(session: AsyncSession, runtime: Runtime, caller: Caller, version: RankerVersion) -> None:
    """Put a trained version into use by hand. Raises RankerNotUsable."""
    if version.status not in USABLE:
        raise RankerNotUsable(version.status)
    try:
        await read_file(runtime.settings, version)
    except (WeightsDamaged, AppError) as error:
        log.warning("ranker_not_usable", version_id=str(version.id), error=str(error))
        raise RankerNotUsable(version.status) from error
    await promote(session, version, now=runtime.clock())


async def roll_back(session: AsyncSession, runtime: Runtime, caller: Caller) -> RankerVersion:
    """The version that was live before, live again. Raises: NothingToRollBackTo, RankerNotUsable."""
    statement = (
        visible_to(caller)
        .where(RankerVersion.status == RankerStatus.RETIRED)
        .order_by(RankerVersion.promoted_at.desc())
        .limit(1)
    )
    before = (await session.scalars(statement)).first()
    if before is None:
        raise NothingToRollBackTo
    await go_live(session, runtime, caller, before)
    return before


async def _set_live_number(session: AsyncSession, community_id: UUID, number: int) -> None:
    new = insert(RecommendationState).values(community_id=community_id, catalogue_number=0, ranker_number=number)
    await session.execute(
        new.on_conflict_do_update(index_elements=["community_id"], set_={"ranker_number": number})
    )  # fmt: skip

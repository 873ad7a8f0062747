"""`linli ranker`: the versions of a community's ranker, one to be trained, and the way back, without a browser."""

from collections.abc import Awaitable, Callable

from sqlalchemy.ext.asyncio import AsyncSession

from app.people.callers import Caller, CommunityNotFound, system_caller
from app.people.sign_in import find_tenant
from app.recommend import rankers, training
from app.recommend.tables import RankerVersion
from app.runtime import Runtime

Do = Callable[[AsyncSession, Runtime, Caller], Awaitable[list[RankerVersion]]]


async def list_versions(session: AsyncSession, runtime: Runtime, caller: Caller) -> list[RankerVersion]:
    """All of them, newest first."""
    return list(await session.scalars(rankers.visible_to(caller).order_by(RankerVersion.number.desc())))


async def roll_back(session: AsyncSession, runtime: Runtime, caller: Caller) -> list[RankerVersion]:
    """The version that was live before is live again. Raises: NothingToRollBackTo, RankerNotUsable."""
    return [await rankers.roll_back(session, runtime, caller)]


async def start_training(session: AsyncSession, runtime: Runtime, caller: Caller) -> list[RankerVersion]:
    """A worker trains one. Raises TrainingUnderWay."""
    return [await training.start(session, runtime, caller)]


async def run(runtime: Runtime, slug: str, do: Do, *, say: Callable[[str], None]) -> None:
    """Do one of the above for a community by its short name and tell the versions. Raises CommunityNotFound."""
    tenant = await find_tenant(runtime, slug)
    if tenant is None:
        raise CommunityNotFound
    async with runtime.transaction(tenant) as session:
        told = [line_of(one) for one in await do(session, runtime, system_caller(tenant))]
    for line in told or ["no versions yet"]:
        say(line)


def line_of(version: RankerVersion) -> str:
    figures = [
        f"{name} {version.metrics[key]:.4f}"
        for name, key in (("ndcg@10", "newest_ndcg@10"), ("popular", "newest_popular_ndcg@10"))
        if version.metrics.get(key) is not None
    ]
    when = f"{version.created_at:%Y-%m-%d %H:%M}Z"
    return "  ".join((f"{version.number:>4}", f"{version.status:<9}", when, *figures, version.reason)).rstrip()

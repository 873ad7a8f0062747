"""Overload, fairness and calibration of the queue (P10, P11), in simulated time on a real Valkey."""

import statistics
from collections import Counter
from collections.abc import Awaitable, Callable
from uuid import UUID

import numpy as np
from redis.asyncio import Redis

from app.queue import Job, Lane
from bench import pairs
from bench.queue_simulation import Arrival, Served, Simulation, TimedQueue, lognormal, poisson, settings

COMMUNITIES = [UUID(int=n + 1) for n in range(5)]
SLOTS, SERVICE_SECONDS = 8, 8.0
CAPACITY = SLOTS / SERVICE_SECONDS
"""Jobs a second."""
BOUNDS = {Lane.SERVICE: settings().lane_service_wait_seconds, Lane.BATCH: settings().lane_batch_wait_seconds}


async def simulate(redis: Redis, arrivals: list[Arrival], *, slows_at: float = 1e9, **changes: object) -> list[Served]:
    """Eight slots, eight seconds a job; after `slows_at` the engine needs twice as long."""
    await redis.flushdb()
    service = lognormal(SERVICE_SECONDS, seed=1)
    queue = TimedQueue(redis, settings(**changes))
    return await Simulation(queue, SLOTS, lambda now: service(now) * (2 if now > slows_at else 1)).run(arrivals)


def mixed(load: float, seconds: float, *, seed: int = 0, lane: Lane = Lane.INTERACTIVE) -> list[Arrival]:
    """All communities alike, together `load` times what the engine can do."""
    rate = load * CAPACITY / len(COMMUNITIES)
    return [
        arrival
        for n, community in enumerate(COMMUNITIES)
        for arrival in poisson(rate, seconds, community, seed=seed * 100 + n, lane=lane)
    ]


def errors(served: list[Served], *, longest_quiet: float = 1.0) -> tuple[int, float, float]:
    """(how many waited or were told to for over a second, median relative error, share within 50 % of the wait)."""
    seen = [
        (fate.expected, fate.waited)
        for fate in served
        if fate.expected is not None and fate.started is not None
        if max(fate.expected, fate.waited) > longest_quiet
    ]
    relative = [abs(expected - waited) / max(waited, longest_quiet) for expected, waited in seen]
    return len(seen), statistics.median(relative), sum(error <= 0.5 for error in relative) / len(relative)


def bias(served: list[Served]) -> float:
    """All that was told against all that was waited."""
    asked = [fate for fate in served if fate.expected is not None and fate.started is not None]
    return sum(fate.expected or 0.0 for fate in asked) / max(1e-9, sum(fate.waited for fate in asked))


def flooded(seconds: float) -> list[Arrival]:
    """One community asks 150 times at once while the others ask as ever."""
    flood = [Arrival(60.0, COMMUNITIES[0]) for _ in range(150)]
    return [*mixed(0.8, seconds, seed=3), *flood]


async def calibration(redis: Redis) -> None:
    seconds = 600.0
    scenarios: dict[str, Callable[[], Awaitable[list[Served]]]] = {
        "steady, 0.95 of capacity": lambda: simulate(redis, mixed(0.95, seconds, seed=1)),
        "1.3 times capacity, room for 60": lambda: simulate(redis, mixed(1.3, seconds, seed=2), queue_waiting_max=60),
        "one community floods": lambda: simulate(redis, flooded(seconds)),
        "the engine slows by half": lambda: simulate(
            redis, mixed(0.8, seconds, seed=4), slows_at=400, queue_waiting_max=60
        ),
    }
    print(f"{'told against waited':36} {'waits':>6} {'median error':>13} {'within 50 %':>12} {'told/waited':>12}")
    for name, run in scenarios.items():
        served = await run()
        number, error, within = errors(served)
        print(f"{name:36} {number:6} {error:13.2f} {within:12.2f} {bias(served):12.2f}")


async def flood(redis: Redis) -> None:
    """P11: one community has 100 times as much waiting as each other, all the time."""
    await redis.flushdb()
    queue = TimedQueue(redis, settings())
    await queue.set_time(0)
    served: Counter[UUID] = Counter()
    loud = COMMUNITIES[0]
    number = iter(range(10**9))

    async def send(community: UUID) -> None:
        await queue.send(Job("bench.job", UUID(int=next(number)), community))

    for community in [loud] * 200 + COMMUNITIES[1:] * 2:
        await send(community)
    for _ in range(250):
        for lease in await queue.take(4, wait_seconds=0):
            served[lease.job.community_id] += 1
            await send(lease.job.community_id)
            await queue.finish(lease)
    share = max(served.values()) / min(served.values())
    pairs.goal("P11 served, most / least, one floods 100 times", pairs.exactly(share), at_most=1.1)


def goodput(served: list[Served], *, wait_seconds_max: float, seconds: float) -> float:
    """Jobs a second that started in time."""
    return sum(fate.started is not None and fate.waited <= wait_seconds_max for fate in served) / seconds


async def overload(redis: Redis) -> None:
    """P10. Bounded waiting of 16 jobs is two service times deep; a start within 30 s counts."""
    ratios, seconds = [], 300.0
    for seed in range(7):
        once, twice = [
            goodput(
                await simulate(redis, mixed(load, seconds, seed=seed), queue_waiting_max=16),
                wait_seconds_max=30,
                seconds=seconds,
            )
            for load in (1.0, 2.0)
        ]
        ratios.append(twice / once)
    pairs.goal("P10 goodput at 2x / at 1x", pairs.ratio_of(ratios, [1.0] * len(ratios)), at_least=0.95)
    await lanes(redis)


async def lanes(redis: Redis) -> None:
    """People who watch hardly notice twice the load behind them; and those behind them do not starve."""
    ratios, seconds = [], 300.0
    for seed in range(7):
        idle = await simulate(redis, mixed(0.2, seconds, seed=seed))
        behind = mixed(1.8, seconds, seed=50 + seed, lane=Lane.BATCH)
        busy = await simulate(redis, [*mixed(0.2, seconds, seed=seed), *behind], queue_waiting_max=60)
        ratios.append(response_p99(busy) / response_p99(idle))
    pairs.goal("P10 urgent lane p99, behind it 2x / idle", pairs.ratio_of(ratios, [1.0] * len(ratios)), at_most=1.5)
    longest: dict[Lane, list[float]] = {lane: [] for lane in BOUNDS}
    for seed in range(7):
        flooded = [
            *mixed(1.5, 600, seed=3 * seed),
            *mixed(0.2, 600, seed=3 * seed + 1, lane=Lane.SERVICE),
            *mixed(0.1, 600, seed=3 * seed + 2, lane=Lane.BATCH),
        ]
        served = await simulate(redis, flooded)
        for lane, waits in longest.items():
            waits.append(max(fate.waited for fate in served if fate.arrival.lane is lane and fate.started is not None))
    for lane, bound in BOUNDS.items():
        name = f"P10 longest wait in the {lane.value} lane / its bound ({bound:.0f} s), 1.8 of capacity in all"
        pairs.goal(name, pairs.ratio_of(longest[lane], [bound] * len(longest[lane])), at_most=1.0)


def response_p99(served: list[Served]) -> float:
    times = [
        fate.ended - fate.arrival.at
        for fate in served
        if fate.arrival.lane is Lane.INTERACTIVE and fate.ended is not None
    ]
    return float(np.percentile(times, 99))

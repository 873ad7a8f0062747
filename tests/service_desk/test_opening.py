"""Many who report at once, and a Redis that forgets."""

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from datetime import timedelta

from app.people.tables import StaffRole
from app.runtime import Runtime
from app.service_desk.jobs import sweep_untriaged_orders
from tests.conftest import Client, Clock
from tests.make import Make

MINE = "/api/v1/me/workorders"


async def test_twelve_reports_at_once_get_twelve_numbers(client: Client, make: Make):
    residents = [await make.resident() for _ in range(4)]
    answers = await asyncio.gather(
        *(client.post(MINE, json={"text": f"问题{n}"}, as_=one) for one in residents for n in range(3))
    )
    assert sorted(answer.json()["number"] for answer in answers) == list(range(1, 13))


async def test_a_daily_limit_holds_when_all_come_at_once(client: Client, make: Make):
    resident = await make.resident()
    answers = await asyncio.gather(*(client.post(MINE, json={"text": f"问题{n}"}, as_=resident) for n in range(14)))
    assert Counter(answer.status_code for answer in answers) == {201: 10, 429: 4}


async def test_an_order_whose_job_redis_forgot_is_looked_at_all_the_same(
    client: Client, make: Make, runtime: Runtime, clock: Clock, run_jobs: Callable[[], Awaitable[int]]
):
    resident, desk = await make.resident(), await make.staff(role=StaffRole.FRONT_DESK)
    order = (await client.post(MINE, json={"text": "那个东西又那样了"}, as_=resident)).json()
    await runtime.redis.flushall()
    url = f"{desk.place.url}/workorders/{order['id']}"
    assert (await client.get(url, as_=desk)).json()["triage"] is None
    clock.now += timedelta(minutes=5)
    await sweep_untriaged_orders(runtime)
    assert await run_jobs() >= 1
    assert (await client.get(url, as_=desk)).json()["triage"] is not None


async def test_neighbours_orders_are_unknown_whatever_is_done_to_them(client: Client, make: Make):
    order, neighbour = await make.work_order(), await make.resident()
    url = f"{MINE}/{order.id}"
    for verb in ("urge", "cancel", "confirm-quote", "reopen", "comments"):
        answer = await client.post(f"{url}/{verb}", json={"text": "x"} if verb == "comments" else {}, as_=neighbour)
        assert (answer.status_code, answer.json()["code"]) == (404, "work_order_not_found"), verb
    assert (await client.get(f"{url}/events", as_=neighbour)).status_code == 404

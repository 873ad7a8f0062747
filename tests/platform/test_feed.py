"""The feed as a resident's phone sees it: nothing lost, nothing doubled, also after a tunnel or a restart of Redis."""

import asyncio
import contextlib
import itertools
import json
import time
from collections.abc import AsyncIterator, Callable
from uuid import UUID, uuid4

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from redis.asyncio import Redis

from app.feed import IDLE, Event, Feed, FeedGone, FollowerTooSlow, InvalidEventId, TokenFrames
from app.settings import Settings
from tests.faults.proxy import proxied
from tests.platform.valkey_servers import Valkey, open_redis, running_valkey


@pytest.fixture
async def feed_with(redis: Redis, settings_with: Callable[..., Settings]) -> AsyncIterator[Callable[..., Feed]]:
    async with contextlib.AsyncExitStack() as stack:

        def build(**changes) -> Feed:
            feed = Feed(redis, settings_with(**changes))
            stack.push_async_callback(feed.close)
            return feed

        yield build


@pytest.fixture
def feed(feed_with: Callable[..., Feed]) -> Feed:
    return feed_with()


async def collect(feed: Feed, turn_id: UUID, *, after: str | None = None, **options) -> list[Event]:
    async with asyncio.timeout(20):
        return [event async for event in feed.follow(turn_id, after=after, **options) if event.name != IDLE]


async def publish_answer(feed: Feed, turn_id: UUID, tokens: int, *, pause: float = 0.0) -> list[str]:
    """The ids of accepted, the tokens, done."""
    ids = [await feed.publish(turn_id, "accepted", {})]
    for n in range(tokens):
        ids.append(await feed.publish(turn_id, "token", {"text": f"字{n}", "at": n}))
        if pause:
            await asyncio.sleep(pause)
    return [*ids, await feed.publish(turn_id, "done", {"text": "好"})]


async def test_a_late_follower_gets_everything_in_order(feed: Feed):
    turn_id = uuid4()
    ids = await publish_answer(feed, turn_id, 5)
    events = await collect(feed, turn_id)
    assert [event.id for event in events] == ids
    assert [event.name for event in events] == ["accepted", *["token"] * 5, "done"]
    assert events[1].data == {"text": "字0", "at": 0}


async def test_a_long_answer_is_replayed_in_pages(feed: Feed):
    turn_id = uuid4()
    ids = await publish_answer(feed, turn_id, 1_100)
    assert [event.id for event in await collect(feed, turn_id)] == ids
    assert [event.id for event in await collect(feed, turn_id, after=ids[499])] == ids[500:]


async def test_coming_back_with_any_id_loses_and_doubles_nothing(feed: Feed):
    """For each id: leave there, come back while the answer goes on."""
    turn_id = uuid4()
    publishing = asyncio.create_task(publish_answer(feed, turn_id, 30, pause=0.005))
    await asyncio.sleep(0.03)
    live = await collect(feed, turn_id)
    ids = await publishing
    assert [event.id for event in live] == ids
    for n, last_id in enumerate(ids):
        assert [event.id for event in await collect(feed, turn_id, after=last_id)] == ids[n + 1 :]


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    pauses=st.lists(st.sampled_from([0, 0, 0.001, 0.004]), min_size=1, max_size=40),
    leave_after=st.lists(st.integers(1, 12), max_size=6),
    buffer=st.integers(1, 6),
)
async def test_whatever_the_pace_a_phone_that_comes_and_goes_sees_each_event_once(
    feed_with: Callable[..., Feed], pauses, leave_after, buffer
):
    feed, turn_id, breaks = feed_with(follower_buffer_events_max=buffer), uuid4(), list(leave_after)
    seen: list[Event] = []
    await feed.publish(turn_id, "accepted", {})

    async def publish() -> list[str]:
        ids = []
        for n, pause in enumerate(pauses):
            ids.append(await feed.publish(turn_id, "token", {"text": "x", "at": n}))
            await asyncio.sleep(pause)
        return [*ids, await feed.publish(turn_id, "done", {})]

    publishing = asyncio.create_task(publish())
    async with asyncio.timeout(20):
        while not seen or seen[-1].name != "done":
            stop_at = len(seen) + (breaks.pop() if breaks else 1_000)
            async with contextlib.aclosing(feed.follow(turn_id, after=seen[-1].id if seen else None)) as events:
                async for event in events:
                    seen.append(event)
                    if len(seen) >= stop_at:
                        break
    assert [event.id for event in seen[1:]] == await publishing


async def test_two_followers_see_the_same(feed: Feed):
    turn_id = uuid4()
    await feed.publish(turn_id, "accepted", {})
    following = [asyncio.create_task(collect(feed, turn_id)) for _ in range(2)]
    ids = await publish_answer(feed, turn_id, 20, pause=0.002)
    one, other = await asyncio.gather(*following)
    assert one == other
    assert [event.id for event in one[1:]] == ids


async def test_an_id_that_was_never_given_out_is_refused(feed: Feed):
    turn_id = uuid4()
    ids = await publish_answer(feed, turn_id, 3)
    ms = int(ids[1].split("-")[0])
    for forged in (
        "",
        "$",
        "-",
        "+",
        "abc",
        "1",
        "1-",
        "1-2-3",
        "9" * 30 + "-0",
        "(1-0",
        f"{ms}-999",
        f"{ms + 10**6}-0",
    ):
        with pytest.raises(InvalidEventId) as refused:
            await collect(feed, turn_id, after=forged)
        assert refused.value.status == 422


async def test_a_feed_that_is_not_there_is_gone(feed: Feed, redis: Redis):
    with pytest.raises(FeedGone):
        await collect(feed, uuid4())
    turn_id = uuid4()
    ids = await publish_answer(feed, turn_id, 3)
    assert 3500 < await redis.ttl(f"linli:feed:{{{turn_id}}}") <= 3600
    await redis.flushall()
    with pytest.raises(FeedGone):
        await collect(feed, turn_id, after=ids[1])


async def test_a_feed_wiped_in_mid_answer_is_gone_rather_than_incomplete(feed: Feed, redis: Redis):
    turn_id = uuid4()
    ids = await publish_answer(feed, turn_id, 3)
    await redis.flushall()
    # Ids are milliseconds: no server loses its data and goes on within the same one.
    await asyncio.sleep(0.01)
    await feed.publish(turn_id, "token", {"text": "middle", "at": 6})
    await feed.publish(turn_id, "done", {})
    with pytest.raises(FeedGone):
        await collect(feed, turn_id, after=ids[2])
    with pytest.raises(FeedGone):
        await collect(feed, turn_id)


async def test_a_quiet_follower_is_woken_to_look_around(feed: Feed, redis: Redis):
    turn_id = uuid4()
    first_id = await feed.publish(turn_id, "accepted", {})
    async with contextlib.aclosing(feed.follow(turn_id, idle_seconds=0.05)) as events:
        assert (await anext(events)).name == "accepted"
        for _ in range(3):
            assert await anext(events) == Event(first_id, IDLE, {})
        await redis.flushall()
        with pytest.raises(FeedGone):
            await asyncio.wait_for(anext(events), 10)


async def test_a_publication_sent_again_is_not_doubled(feed: Feed, redis: Redis):
    """What the client does when Redis answered, and the answer was lost on the way."""
    turn_id = uuid4()
    await feed.publish(turn_id, "accepted", {})
    publication = (f"linli:feed:{{{turn_id}}}", "done", "{}", "same-key", 60, 0)
    assert await feed._publications.call(publication) == await feed._publications.call(publication)
    assert [event.name for event in await collect(feed, turn_id)] == ["accepted", "done"]


async def test_a_worker_that_lost_its_turn_is_not_heard(feed: Feed):
    turn_id = uuid4()
    await feed.publish(turn_id, "accepted", {})
    await feed.publish(turn_id, "token", {"text": "old", "at": 0}, token=7)
    await feed.publish(turn_id, "restart", {}, token=8)
    assert await feed.publish(turn_id, "token", {"text": "zombie", "at": 3}, token=7) == ""
    await feed.publish(turn_id, "done", {}, token=8)
    assert [event.name for event in await collect(feed, turn_id)] == ["accepted", "token", "restart", "done"]


async def test_a_follower_that_does_not_read_is_cut_and_loses_nothing_by_coming_back(
    feed_with: Callable[..., Feed],
):
    feed = feed_with(follower_buffer_events_max=10, follower_stall_seconds=0.2)
    turn_id, cut = uuid4(), asyncio.Event()
    await feed.publish(turn_id, "accepted", {})
    events = feed.follow(turn_id, on_cut=cut.set)
    first = await anext(events)
    second = asyncio.ensure_future(anext(events))
    ids = [await feed.publish(turn_id, "token", {"text": "x", "at": n}) for n in range(50)]
    assert (await second).id == ids[0]
    await asyncio.wait_for(cut.wait(), 10)
    [follower] = next(iter(feed._hub._followers.values()))
    assert len(follower._buffer) == 0
    with pytest.raises(FollowerTooSlow):
        await anext(events)
    assert feed._hub._followers == {}
    done = await feed.publish(turn_id, "done", {})
    assert [event.id for event in await collect(feed, turn_id, after=first.id)] == [*ids, done]


async def test_a_slow_follower_that_reads_is_not_cut(feed_with: Callable[..., Feed]):
    feed = feed_with(follower_buffer_events_max=3, follower_stall_seconds=0.15)
    turn_id, seen = uuid4(), []
    await feed.publish(turn_id, "accepted", {})
    publishing = asyncio.create_task(publish_answer(feed, turn_id, 25, pause=0.002))
    async for event in feed.follow(turn_id):
        seen.append(event.id)
        await asyncio.sleep(0.03)
    assert seen[1:] == await publishing


async def test_200_followers_share_one_connection(feed: Feed, redis: Redis):
    turns = [uuid4() for _ in range(50)]
    for turn_id in turns:
        await feed.publish(turn_id, "accepted", {})
    following = [asyncio.create_task(collect(feed, turns[n % 50])) for n in range(200)]
    await asyncio.sleep(0.5)
    subscribers = [client for client in await redis.client_list() if int(client["sub"]) > 0]
    assert len(subscribers) == 1
    assert int(subscribers[0]["sub"]) == 51
    for turn_id in turns:
        await feed.publish(turn_id, "done", {})
    assert {len(events) for events in await asyncio.gather(*following)} == {2}
    [subscriber] = [client for client in await redis.client_list() if int(client["sub"]) > 0]
    assert int(subscriber["sub"]) == 1


async def test_a_follower_that_left_while_it_joined_is_not_shown_for_ever(feed: Feed):
    joining = asyncio.create_task(anext(feed.follow(uuid4())))
    await asyncio.sleep(0)
    assert feed.followers == 1
    joining.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await joining
    assert feed.followers == 0


@pytest.mark.parametrize("durable", [True, False], ids=["kept its data", "lost its data"])
async def test_redis_killed_and_started_again_while_followed(settings_with: Callable[..., Settings], durable: bool):
    with running_valkey(durable=durable) as valkey:
        async with open_redis(valkey.url) as redis, open_redis(valkey.url) as writers_redis:
            feed, writer = Feed(redis, settings_with()), Feed(writers_redis, settings_with())
            turn_id = uuid4()
            ids = [await writer.publish(turn_id, "accepted", {})]
            ids += [await writer.publish(turn_id, "token", {"text": "x", "at": n}) for n in range(5)]
            following = asyncio.create_task(collect(feed, turn_id, idle_seconds=0.5))
            await asyncio.sleep(0.2)
            valkey.kill()
            await asyncio.sleep(0.3)
            valkey.start()
            # Published before the follower can have subscribed again: found by the replay of the gap.
            ids += [await writer.publish(turn_id, "token", {"text": "x", "at": n}) for n in range(5, 10)]
            await asyncio.sleep(1.5)
            ids += [await writer.publish(turn_id, "done", {})]
            if durable:
                assert [event.id for event in await following] == ids
            else:
                with pytest.raises(FeedGone):
                    await following
            await feed.close()
            await writer.close()


async def test_without_redis_following_ends_and_publishing_goes_on(settings_with: Callable[..., Settings]):
    quick = settings_with(feed_reconnect_seconds=0.3, feed_publish_seconds=0.2)
    with running_valkey() as valkey:
        async with open_redis(valkey.url) as redis:
            feed, turn_id = Feed(redis, quick), uuid4()
            await feed.publish(turn_id, "accepted", {})
            valkey.kill()
            assert await feed.publish(turn_id, "token", {"text": "x", "at": 0}) == ""
            with pytest.raises(FeedGone):
                await collect(feed, turn_id)
            await feed.close()
            valkey.start()


class TestTokenFrames:
    async def test_the_first_token_leaves_at_once_and_the_rest_in_frames(self, feed: Feed):
        turn_id = uuid4()
        await feed.publish(turn_id, "accepted", {})
        arrived: list[tuple[float, Event]] = []

        async def follow() -> None:
            arrived.extend([(time.perf_counter(), event) async for event in feed.follow(turn_id)])

        following = asyncio.create_task(follow())
        await asyncio.sleep(0.05)
        started, text = time.perf_counter(), [f"第{n}个字" for n in range(60)]
        async with TokenFrames(feed, turn_id) as frames:
            for piece in text:
                await frames.add(piece)
                await asyncio.sleep(0.005)
        took = time.perf_counter() - started
        await feed.publish(turn_id, "done", {})
        await following
        tokens = [(at, event) for at, event in arrived if event.name == "token"]
        assert tokens[0][0] - started < 0.05
        assert tokens[0][1].data == {"text": text[0], "at": 0}
        assert 3 <= len(tokens) <= 3 + took / feed.frame_seconds
        gaps = [later[0] - earlier[0] for earlier, later in itertools.pairwise(tokens)]
        assert max(gaps) < 0.2
        chars = 0
        for _, event in tokens:
            assert event.data["at"] == chars
            chars += len(event.data["text"])
        assert "".join(event.data["text"] for _, event in tokens) == "".join(text)

    async def test_a_token_before_a_pause_does_not_wait_for_the_next(self, feed: Feed):
        turn_id = uuid4()
        async with TokenFrames(feed, turn_id) as frames:
            await frames.add("a")
            await frames.add("b")
            await asyncio.sleep(0.25)
            stored = await feed._page(turn_id, f"linli:feed:{{{turn_id}}}", "-")
            assert len(stored) == 2

    async def test_a_frame_whose_reply_came_too_late_is_not_said_twice(self, valkey: Valkey, settings_with):
        turn_id = uuid4()
        with proxied(("127.0.0.1", valkey.port)) as [link]:
            async with open_redis(f"redis://127.0.0.1:{link.port}/0") as redis:
                feed = Feed(redis, settings_with(feed_publish_seconds=0.3))
                async with TokenFrames(feed, turn_id) as frames:
                    await frames.add("a")
                    link.down.latency_seconds = 1.0
                    await frames.add("bc")
                    await asyncio.sleep(0.8)
                    link.heal()
                    await frames.add("def")
                stored = await feed._page(turn_id, f"linli:feed:{{{turn_id}}}", "-")
                await feed.close()
        assert [(said["at"], said["text"]) for said in (json.loads(entry[1][b"data"]) for entry in stored)] == [
            (0, "a"),
            (1, "bc"),
            (3, "def"),
        ]

    async def test_a_stopped_answer_keeps_what_was_said(self, feed: Feed):
        turn_id = uuid4()

        async def answer() -> None:
            async with TokenFrames(feed, turn_id) as frames:
                await frames.add("a")
                await frames.add("b")
                await asyncio.sleep(10)

        answering = asyncio.create_task(answer())
        await asyncio.sleep(0.03)
        answering.cancel()
        with pytest.raises(asyncio.CancelledError):
            await answering
        await feed.publish(turn_id, "done", {})
        assert [event.data.get("text") for event in await collect(feed, turn_id)] == ["a", "b", None]

    async def test_redis_away_in_mid_answer_slows_nothing_and_leaves_no_gap(
        self, settings_with: Callable[..., Settings]
    ):
        with running_valkey(durable=True) as valkey:
            async with open_redis(valkey.url) as redis:
                feed, turn_id = Feed(redis, settings_with(feed_publish_seconds=0.2)), uuid4()
                async with TokenFrames(feed, turn_id) as frames:
                    await frames.add("a")
                    valkey.kill()
                    started = time.perf_counter()
                    for _ in range(20):
                        await frames.add("b")
                        await asyncio.sleep(0.02)
                    assert time.perf_counter() - started < 3, "20 frames at 0.2 seconds each would be 4"
                    valkey.start()
                    await asyncio.sleep(1.5)
                    await frames.add("c")
                await feed.publish(turn_id, "done", {})
                *tokens, _ = await collect(feed, turn_id)
                assert "".join(event.data["text"] for event in tokens) == "a" + "b" * 20 + "c"
                await feed.close()

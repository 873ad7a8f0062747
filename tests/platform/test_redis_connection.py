"""A connection to Redis that closes between two uses."""

import asyncio

import pytest
import uvloop
from redis.exceptions import ConnectionError as RedisGone

from app.runtime import open_redis
from app.settings import Settings


def test_a_question_asked_as_redis_dies_is_no_500(redis_url):
    """uvloop raises RuntimeError on a closed socket, which nobody took for Redis being away."""

    async def use_closed() -> None:
        redis = open_redis(Settings(_env_file=None, redis_url=redis_url))
        connection = await redis.connection_pool.get_connection()
        connection._writer.transport.abort()
        await asyncio.sleep(0.01)
        with pytest.raises(RedisGone):
            await connection.send_packed_command(connection.pack_command("PING"), check_health=False)
        await redis.connection_pool.release(connection)
        assert await redis.ping()
        await redis.aclose()

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(use_closed())

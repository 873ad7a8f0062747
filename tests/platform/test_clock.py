"""A machine whose clock is off. The same with whole processes is in tests/faults."""

import time
from datetime import UTC, datetime, timedelta

from app import clock, db
from app.clock import Clock


def set_by(found: Clock, **ahead: float) -> None:
    now = time.time()
    found.set_by(datetime.fromtimestamp(now, UTC) + timedelta(**ahead), asked_at=now, told_at=now)


def test_the_time_of_the_database_is_the_time_of_the_process():
    found = Clock()
    before = [found.new_id() for _ in range(3)]
    set_by(found, hours=1)
    assert abs(found.now() - datetime.now(UTC) - timedelta(hours=1)) < timedelta(seconds=5)
    ids = [*before, found.new_id()]
    assert ids == sorted(ids)
    assert ids[-1].int >> 80 > (ids[0].int >> 80) + 3_500_000, "an id says when it was made, in milliseconds"
    set_by(found, hours=0)
    assert abs(found.now() - datetime.now(UTC)) < timedelta(seconds=5)


def test_a_busy_machine_does_not_move_the_clock():
    found = Clock()
    set_by(found, seconds=0.9)
    now = time.time()
    found.set_by(datetime.fromtimestamp(now, UTC) + timedelta(seconds=1), asked_at=now - 4, told_at=now)
    assert found.offset_seconds == 0


async def test_every_new_connection_looks_at_the_time(settings, monkeypatch):
    found = Clock()
    found.offset_seconds = 3600
    monkeypatch.setattr(db, "CLOCK", found)
    database, _ = db.open_database(settings.database_url, settings)
    async with database.connect():
        assert found.offset_seconds == 0
    await database.dispose()
    assert clock.CLOCK.offset_seconds == 0

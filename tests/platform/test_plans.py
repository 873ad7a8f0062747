"""Large communities are read along indexes."""

import re
from urllib.parse import urlsplit

import pytest

from app import db
from bench import passages, town

BIG = "accounts|residents|conversations|turns|documents|passages"


@pytest.fixture(scope="module")
async def medium_town(open_parts, services):
    database = urlsplit(services.database_url).path
    superuser = await passages.connect(services.database_superuser_url.rsplit("/", 1)[0] + database)
    try:
        yield await town.build(open_parts, superuser, size=3)
    finally:
        await superuser.close()


@pytest.mark.parametrize("name", town.OPERATIONS)
async def test_nothing_people_do_all_day_reads_a_whole_table(medium_town, settings, name):
    engine, sessions = db.open_database(settings.database_url, settings)
    # The planner rightly reads a small table whole and sorts few rows: what is asked is if an index serves, in order.
    try:
        plans = await town.plans(medium_town.at(sessions), engine, name, off=("seqscan", "bitmapscan", "sort"))
    finally:
        await engine.dispose()
    assert plans
    for plan in plans:
        assert not re.search(rf"Seq Scan on ({BIG})", plan), plan
        if "page" in name or "conversations" in name:
            assert "Sort" not in plan, plan


async def test_the_first_search_after_an_upload_is_as_quick_as_later_ones(medium_town, runtime, make, services):
    """Words on an index's list of pending entries are read from end to end by every search until the next vacuum."""
    place = await make.home()
    superuser = await passages.connect(
        services.database_superuser_url.rsplit("/", 1)[0] + urlsplit(services.database_url).path
    )
    try:
        options = await superuser.fetch(
            "SELECT i.reloptions FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_am a ON a.oid = i.relam "
            "WHERE a.amname = 'gin' AND x.indrelid = to_regclass($1)",
            f"passages_{place.id.hex}",
        )
        attached = await superuser.fetchval(
            "SELECT count(*) FROM pg_inherits WHERE inhparent = 'ix_passages_words'::regclass"
        )
    finally:
        await superuser.close()
    assert [row["reloptions"] for row in options] == [["fastupdate=off"]]
    assert attached >= 2

"""What the practice community has to recommend is whole, in both languages, and fits its places and people."""

from datetime import UTC, datetime, timedelta

from app.practice import offers
from app.practice.interactions import CATEGORIES, GROUPS
from app.practice.world import build
from app.recommend.schemas import ItemIn
from app.recommend.tables import ItemKind

NOW = datetime(2026, 11, 22, 2, 0, tzinfo=UTC)


def test_the_items_are_valid_bilingual_and_of_all_kinds():
    said, rows = offers.said(), offers.item_rows(build(), now=NOW)
    assert len(said) == len({one["id"] for one in said}) == len(rows) >= 120
    assert {one["kind"] for one in said} == set(ItemKind)
    assert {one["taste"] for one in said} == set(CATEGORIES)
    assert {one["group"] for one in said if "group" in one} <= set(GROUPS)
    known = set(ItemIn.model_fields)
    for row in rows:
        ItemIn.model_validate({name: value for name, value in row.items() if name in known})
        assert all(row[name] for name in ("title_en", "text", "text_en")), row["external_id"]
    # There is always something ahead within days.
    assert sum(row["starts_at"] is not None and row["starts_at"] < NOW + timedelta(days=7) for row in rows) > 10

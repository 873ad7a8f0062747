"""The practice staff's skills, shifts and rota fit the people and leave no hour without somebody to ring."""

from datetime import UTC, datetime, time, timedelta

from app.people.recurring import covers
from app.people.tables import RotaEntry, Skill, StaffShift
from app.practice import duties
from app.practice.world import build, stable_id

WORLD = build()
MONDAY = datetime(2026, 11, 23, tzinfo=UTC)


def test_every_title_has_skills_and_every_skill_a_person():
    assert {member.title for member in WORLD.staff} == set(duties.SKILLS_OF_TITLE)
    had = {skill for member in WORLD.staff for skill in duties.skills_of(WORLD, member)}
    assert had == set(Skill)


def test_duties_are_of_people_who_have_a_right_there():
    rights = {
        (account.login, right.community_id)
        for member in WORLD.staff
        for account in WORLD.accounts
        if account.id == member.account_id
        for right in member.rights
    }
    for duty in (*duties.SHIFTS, *duties.ROTA):
        assert (duty.login, stable_id(duty.slug)) in rights, duty
    assert set(duties.SKILLS) <= {login for login, _ in rights}


def test_somebody_is_on_call_and_on_guard_at_every_hour_of_the_week():
    for slug in ("wanglan", "guiyin"):
        entries = [row_of(RotaEntry, row) for row in duties.rota_rows(WORLD, stable_id(slug))]
        guards = [row_of(StaffShift, row) for row in duties.shift_rows(WORLD, stable_id(slug))]
        for hour in range(7 * 24):
            at = MONDAY + timedelta(hours=hour)
            assert {entry.level for entry in entries if isinstance(entry, RotaEntry) and covers(entry, at)} >= {
                1,
                2,
                3,
                4,
            }, (slug, at)
            assert any(covers(shift, at) for shift in guards), (slug, at)


def row_of(table: type[RotaEntry | StaffShift], row: dict[str, object]) -> RotaEntry | StaffShift:
    times = {name: time.fromisoformat(str(row[name])) for name in ("from_time", "to_time")}
    return table(**row | times)

"""The practice community is the same in every run, and what is written about it holds together."""

from collections import Counter
from dataclasses import astuple
from uuid import UUID

from app.people.tables import ResidentRole, SpaceKind, StaffRole
from app.practice.world import World, build


def community_id(world: World, slug: str):
    return next(community.id for community in world.communities if community.slug == slug)


def test_the_same_seed_gives_the_same_world():
    assert astuple(build(seed=7)) == astuple(build(seed=7))


def test_another_seed_gives_other_people_in_the_same_places():
    first, second = build(seed=7), build(seed=8)
    assert first.spaces == second.spaces
    assert first.households == second.households
    assert first.staff == second.staff
    assert [resident.name for resident in first.residents] != [resident.name for resident in second.residents]


def test_the_first_community_has_three_phases_fourteen_buildings_and_1192_households():
    world = build()
    home = community_id(world, "wanglan")
    kinds = Counter(space.kind for space in world.spaces if space.community_id == home)
    assert kinds == {SpaceKind.PHASE: 3, SpaceKind.BUILDING: 14, SpaceKind.UNIT: 28, SpaceKind.ROOM: 1192}
    assert sum(household.community_id == home for household in world.households) == 1192


def test_the_second_community_is_small():
    world = build()
    home = community_id(world, "guiyin")
    kinds = Counter(space.kind for space in world.spaces if space.community_id == home)
    assert kinds == {SpaceKind.PHASE: 1, SpaceKind.BUILDING: 2, SpaceKind.UNIT: 2, SpaceKind.ROOM: 40}


def test_every_id_is_its_own():
    world = build()
    ids = [community.id for community in world.communities] + [space.id for space in world.spaces]
    ids += [household.id for household in world.households] + [account.id for account in world.accounts]
    ids += [resident.id for resident in world.residents] + [staff.id for staff in world.staff]
    assert len(set(ids)) == len(ids)


def test_parents_stand_before_their_children_in_the_same_community():
    seen: dict[UUID, UUID] = {}
    for space in build().spaces:
        assert space.parent_id is None or seen[space.parent_id] == space.community_id
        assert (space.building_id is None) == (space.kind is SpaceKind.PHASE)
        seen[space.id] = space.community_id


def test_every_resident_lives_in_a_household_of_his_community_and_building():
    world = build()
    homes = {household.id: household for household in world.households}
    for resident in world.residents:
        home = homes[resident.household_id]
        assert (resident.community_id, resident.building_id) == (home.community_id, home.building_id)


def test_phone_numbers_are_fictional_and_each_is_given_once():
    world = build()
    phones = [resident.phone for resident in world.residents] + [staff.phone for staff in world.staff]
    assert len(set(phones)) == len(phones)
    assert all(len(phone) == 11 and phone.startswith("1540000") for phone in phones)


def test_there_are_owners_tenants_and_family_and_some_wait_for_verification():
    residents = build().residents
    roles = {resident.role for resident in residents}
    assert roles == {ResidentRole.OWNER, ResidentRole.TENANT, ResidentRole.FAMILY}
    assert 0.03 < sum(not resident.verified for resident in residents) / len(residents) < 0.2


def test_every_staff_role_is_filled_in_both_communities():
    world = build()
    for community in world.communities:
        filled = {right.role for staff in world.staff for right in staff.rights if right.community_id == community.id}
        assert filled == set(StaffRole)


def test_the_rights_of_staff_name_buildings_that_stand():
    world = build()
    for staff in world.staff:
        for right in staff.rights:
            standing = {s.name for s in world.spaces if s.community_id == right.community_id}
            assert set(right.buildings) <= standing


def test_the_sign_ins_lead_to_an_owner_a_tenant_an_unverified_resident_a_manager_and_a_front_desk():
    world = build()
    accounts = {account.id: account.login for account in world.accounts}
    residents = {resident.id: resident for resident in world.residents}
    staff = {person.id: person for person in world.staff}
    found: dict[str, tuple[str, bool]] = {}
    for sign_in in world.sign_ins:
        assert accounts[sign_in.account_id] == sign_in.login
        if sign_in.kind == "resident":
            person = residents[sign_in.person_id]
            assert person.account_id == sign_in.account_id
            found[sign_in.login] = (person.role, person.verified)
        else:
            found[sign_in.login] = (staff[sign_in.person_id].rights[0].role, True)
    assert found == {
        "owner@wanglan": (ResidentRole.OWNER, True),
        "tenant@wanglan": (ResidentRole.TENANT, True),
        "newcomer@wanglan": (ResidentRole.OWNER, False),
        "owner@guiyin": (ResidentRole.OWNER, True),
        "manager@wanglan": (StaffRole.MANAGER, True),
        "frontdesk@wanglan": (StaffRole.FRONT_DESK, True),
    }


def test_no_two_accounts_share_a_login():
    logins = [account.login for account in build().accounts]
    assert len(set(logins)) == len(logins)

"""The practice community as plain data: the same seed always gives the same people with the same ids.

`build()` touches no database and no clock. The ids are uuid5 of stable names, so that a second load finds its rows
again.
Passwords are no part of it: the loader draws or is given one for the sign-ins and says it once.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from uuid import NAMESPACE_URL, UUID, uuid5

from app.people.tables import ResidentRole, SpaceKind, StaffRole
from app.practice import names

HERE = Path(__file__).parent
NAMESPACE = uuid5(NAMESPACE_URL, "linli/practice")
Phases = Sequence[tuple[str, range, int, int]]
ROOMS_PER_FLOOR = 2
# 154 is given to no carrier, so these numbers reach nobody. Staff have 0000 to 0999, residents the rest.
PHONE_BLOCK = "1540000"
RESIDENT_PHONE_FIRST = 1000
VACANT_SHARE = 0.06
LET_SHARE = 0.22
UNVERIFIED_SHARE = 0.08


@dataclass(frozen=True, slots=True)
class Organisation:
    id: UUID
    name: str


@dataclass(frozen=True, slots=True)
class Community:
    """`documents` is the folder of Markdown files that this community is loaded with."""

    id: UUID
    organisation_id: UUID
    slug: str
    name: str
    name_en: str
    documents: Path
    approved_answers: Path | None
    phones: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Space:
    """A node of 期/栋/单元/室. Parents stand before their children in `World.spaces`."""

    id: UUID
    community_id: UUID
    parent_id: UUID | None
    building_id: UUID | None
    kind: SpaceKind
    name: str
    label: str


@dataclass(frozen=True, slots=True)
class Household:
    id: UUID
    community_id: UUID
    room_id: UUID
    building_id: UUID


@dataclass(frozen=True, slots=True)
class Account:
    id: UUID
    organisation_id: UUID
    login: str
    name: str


@dataclass(frozen=True, slots=True)
class Resident:
    """A person in one household. `account_id` is set for those who can sign in."""

    id: UUID
    community_id: UUID
    household_id: UUID
    building_id: UUID
    account_id: UUID | None
    name: str
    phone: str
    role: ResidentRole
    verified: bool
    language: str = "zh"


@dataclass(frozen=True, slots=True)
class StaffRight:
    """A role in one community. `buildings` are names as 9栋; none means all of them."""

    community_id: UUID
    role: StaffRole
    buildings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Staff:
    id: UUID
    organisation_id: UUID
    account_id: UUID
    name: str
    title: str
    phone: str
    rights: tuple[StaffRight, ...]


@dataclass(frozen=True, slots=True)
class SignIn:
    """A login to try Linli with. `person_id` is a resident's or a staff member's id, as `kind` says."""

    login: str
    kind: str
    account_id: UUID
    person_id: UUID
    community_id: UUID
    name: str
    label_zh: str
    label_en: str


@dataclass(slots=True)
class World:
    organisation: Organisation
    communities: list[Community] = field(default_factory=list)
    spaces: list[Space] = field(default_factory=list)
    households: list[Household] = field(default_factory=list)
    accounts: list[Account] = field(default_factory=list)
    residents: list[Resident] = field(default_factory=list)
    staff: list[Staff] = field(default_factory=list)
    sign_ins: list[SignIn] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Known:
    """A resident whom a document or a sign-in names, at a fixed address."""

    name: str
    role: ResidentRole
    login: str = ""
    label_zh: str = ""
    label_en: str = ""
    verified: bool = True
    language: str = "zh"


# The chairs of the owners' committee stand in its minutes; the others are the sign-ins of the demo.
KNOWN: dict[str, Known] = {
    "wanglan/9栋1单元1502": Known(
        "沈书宁", ResidentRole.OWNER, "owner@wanglan", "业主（9栋1单元1502）", "owner, Building 9"
    ),
    "wanglan/5栋1单元1101": Known("顾明澜", ResidentRole.OWNER),
    "wanglan/12栋1单元1902": Known("宋知远", ResidentRole.OWNER),
    "wanglan/12栋2单元802": Known(
        "Emma Carter",
        ResidentRole.TENANT,
        "tenant@wanglan",
        "租户（12栋2单元802，英语）",
        "tenant, Building 12, English",
        language="en",
    ),
    "wanglan/3栋2单元601": Known(
        "方可可",
        ResidentRole.OWNER,
        "newcomer@wanglan",
        "未认证用户（3栋2单元601）",
        "not verified yet, Building 3",
        verified=False,
    ),
    "guiyin/2栋1单元502": Known(
        "陆小满", ResidentRole.OWNER, "owner@guiyin", "另一小区的业主（桂影里2栋）", "owner in the other community"
    ),
}


@dataclass(frozen=True, slots=True)
class Post:
    """A member of staff to be: login, name, title, phone and rights as (community slug, role, buildings)."""

    login: str
    name: str
    title: str
    phone: str
    rights: tuple[tuple[str, StaffRole, tuple[str, ...]], ...]
    label_zh: str = ""
    label_en: str = ""


def stable_id(*parts: str) -> UUID:
    """The id of the thing with this name, the same in every run."""
    return uuid5(NAMESPACE, "/".join(parts))


def build(seed: int = 7) -> World:
    """The whole practice world. Who lives where follows from `seed`; places, staff and sign-ins do not."""
    random = Random(seed)  # noqa: S311 (people of a play, no secret)
    world = World(Organisation(stable_id("organisation"), names.ORGANISATION_NAME))
    phones = iter(range(RESIDENT_PHONE_FIRST, 10_000))
    wanglan = add_community(
        world, "wanglan", "望澜苑", "Wanglan Court", documents="documents", answers="approved_answers.yaml"
    )
    add_homes(world, wanglan, names.WANGLAN_PHASES, random, phones)
    guiyin = add_community(world, "guiyin", "桂影里", "Guiying Lane", documents="documents_2")
    add_homes(world, guiyin, names.GUIYIN_PHASES, random, phones)
    logins = [known.login for known in KNOWN.values()]
    world.sign_ins.sort(key=lambda sign_in: logins.index(sign_in.login))
    for post in staff_posts():
        add_staff(world, post)
    return world


def add_community(world: World, slug: str, name: str, name_en: str, *, documents: str, answers: str = "") -> Community:
    community = Community(
        id=stable_id(slug),
        organisation_id=world.organisation.id,
        slug=slug,
        name=name,
        name_en=name_en,
        documents=HERE / documents,
        approved_answers=HERE / answers if answers else None,
        phones=names.PHONES.get(slug, {}),
    )
    world.communities.append(community)
    return community


def add_homes(world: World, community: Community, phases: Phases, random: Random, phones: Iterator[int]) -> None:
    """The spaces of a community, a household for each room, and the people in it."""
    for phase_name, buildings, floors, units in phases:
        phase = add_space(world, community, None, SpaceKind.PHASE, phase_name)
        for number in buildings:
            building = add_space(world, community, phase, SpaceKind.BUILDING, f"{number}栋")
            for unit_number in range(1, units + 1):
                unit = add_space(world, community, building, SpaceKind.UNIT, f"{unit_number}单元")
                for floor in range(1, floors + 1):
                    for door in range(1, ROOMS_PER_FLOOR + 1):
                        room = add_space(world, community, unit, SpaceKind.ROOM, f"{floor}{door:02d}")
                        add_household(world, community, room, random, phones)


def add_space(world: World, community: Community, parent: Space | None, kind: SpaceKind, name: str) -> Space:
    label = f"{parent.label if parent else ''}{name}"
    space_id = stable_id(community.slug, label)
    if kind is SpaceKind.BUILDING:
        building_id: UUID | None = space_id
    else:
        building_id = parent.building_id if parent else None
    space = Space(space_id, community.id, parent.id if parent else None, building_id, kind, name, label)
    world.spaces.append(space)
    return space


def add_household(world: World, community: Community, room: Space, random: Random, phones: Iterator[int]) -> None:
    assert room.building_id is not None
    household = Household(stable_id(community.slug, room.label, "household"), community.id, room.id, room.building_id)
    world.households.append(household)
    # People are drawn for every room, also for the known ones, so that a name added to KNOWN renames nobody else.
    people = draw_people(random)
    known = known_at(community, room)
    if known is not None:
        people = [(known.name, known.role, known.verified)]
    account = add_account(world, known.login, known.name) if known is not None and known.login else None
    for place, (name, role, verified) in enumerate(people):
        resident = Resident(
            id=stable_id(community.slug, room.label, "resident", str(place)),
            community_id=community.id,
            household_id=household.id,
            building_id=household.building_id,
            account_id=account.id if account else None,
            name=name,
            phone=f"{PHONE_BLOCK}{next(phones):04d}",
            role=role,
            verified=verified,
            language=known.language if known else "zh",
        )
        world.residents.append(resident)
        if known is not None and account is not None:
            world.sign_ins.append(resident_sign_in(resident, known, account))


def resident_sign_in(resident: Resident, known: Known, account: Account) -> SignIn:
    return SignIn(
        login=known.login,
        kind="resident",
        account_id=account.id,
        person_id=resident.id,
        community_id=resident.community_id,
        name=resident.name,
        label_zh=known.label_zh,
        label_en=known.label_en,
    )


def known_at(community: Community, room: Space) -> Known | None:
    """Who must live in this room. The label begins with the phase, which the keys of KNOWN leave out."""
    return KNOWN.get(f"{community.slug}/{room.label[2:]}")


def add_account(world: World, login: str, name: str) -> Account:
    account = Account(stable_id("account", login), world.organisation.id, login, name)
    world.accounts.append(account)
    return account


def draw_people(random: Random) -> list[tuple[str, ResidentRole, bool]]:
    """(name, role, verified) of one household: nobody, a family, elders, or an owner who lets to tenants."""
    share = random.random()
    surname = random.choice(names.SURNAMES)
    owner_verified = random.random() >= UNVERIFIED_SHARE
    if share < VACANT_SHARE:
        return []
    if share < VACANT_SHARE + LET_SHARE:
        people = [(surname + random.choice(names.ADULT_NAMES), ResidentRole.OWNER, owner_verified)]
        for _ in range(random.randint(1, 2)):
            name = random.choice(names.SURNAMES) + random.choice(names.ADULT_NAMES)
            people.append((name, ResidentRole.TENANT, random.random() >= 2 * UNVERIFIED_SHARE))
        return people
    elders = random.random() < 0.2
    generation = names.ELDER_NAMES if elders else names.ADULT_NAMES
    people = [(surname + random.choice(generation), ResidentRole.OWNER, owner_verified)]
    if random.random() < 0.75:
        spouse = random.choice(names.SURNAMES) + random.choice(generation)
        people.append((spouse, ResidentRole.FAMILY, owner_verified))
    if not elders:
        for _ in range(random.choice((0, 0, 1, 1, 2))):
            people.append((surname + random.choice(names.CHILD_NAMES), ResidentRole.FAMILY, owner_verified))
    return people


def staff_posts() -> list[Post]:
    """Everybody who works for the company, the sign-ins of the demo first."""
    phase_1, phase_2, phase_3 = (
        tuple(f"{number}栋" for number in buildings) for _, buildings, _, _ in names.WANGLAN_PHASES
    )
    manager, desk, engineer = StaffRole.MANAGER, StaffRole.FRONT_DESK, StaffRole.ENGINEER
    posts = [
        Post("manager@wanglan", "韩知许", "项目经理", "0101", (("wanglan", manager, ()),), "项目经理", "manager"),
        Post("frontdesk@wanglan", "林若溪", "前台专员", "0201", (("wanglan", desk, ()),), "前台", "front desk"),
        Post("director@qihe", "卓以衡", "区域总监", "0001", (("wanglan", manager, ()), ("guiyin", manager, ()))),
        Post("manager@guiyin", "苗青禾", "项目经理", "0102", (("guiyin", manager, ()),)),
        Post("frontdesk2@wanglan", "褚安然", "前台主管", "0202", (("wanglan", desk, ()),)),
        Post("frontdesk3@wanglan", "秦霜", "品质专员", "0203", (("wanglan", desk, ()),)),
        Post("frontdesk@guiyin", "俞念", "前台专员", "0204", (("guiyin", desk, ()),)),
        Post("engineer1@wanglan", "石开山", "工程主管", "0610", (("wanglan", engineer, ()),)),
        Post("engineer2@wanglan", "张砚舟", "工程师", "0611", (("wanglan", engineer, phase_2),)),
        Post("engineer3@wanglan", "邱大勇", "工程师", "0612", (("wanglan", engineer, phase_1),)),
        Post("engineer4@wanglan", "温立", "工程师", "0613", (("wanglan", engineer, phase_3),)),
        Post("engineer1@guiyin", "邵东来", "工程师", "0721", (("guiyin", engineer, ()),)),
    ]
    finance = StaffRole.FINANCE
    for number, name in enumerate(("钟静仪", "裴晓"), start=1):
        both = (("wanglan", finance, ()), ("guiyin", finance, ()))
        posts.append(Post(f"finance{number}@qihe", name, "会计", f"03{number:02d}", both))
    guards = ("雷振", "向北", "路平", "阮大成", "柏松", "施安", "康宁", "费奇")
    for number, name in enumerate(guards, start=1):
        slug = "wanglan" if number <= 6 else "guiyin"
        title = "保安队长" if number in {1, 7} else "保安"
        posts.append(
            Post(f"security{number}@{slug}", name, title, f"05{number:02d}", ((slug, StaffRole.SECURITY, ()),))
        )
    return posts


def add_staff(world: World, post: Post) -> None:
    account = add_account(world, post.login, post.name)
    rights = tuple(StaffRight(stable_id(slug), role, buildings) for slug, role, buildings in post.rights)
    staff = Staff(
        id=stable_id("staff", post.login),
        organisation_id=world.organisation.id,
        account_id=account.id,
        name=post.name,
        title=post.title,
        phone=f"{PHONE_BLOCK}{post.phone}",
        rights=rights,
    )
    world.staff.append(staff)
    if post.label_zh:
        world.sign_ins.append(
            SignIn(
                login=post.login,
                kind="staff",
                account_id=account.id,
                person_id=staff.id,
                community_id=rights[0].community_id,
                name=post.name,
                label_zh=post.label_zh,
                label_en=post.label_en,
            )
        )

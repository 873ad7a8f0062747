"""Addresses in what people write, and where they are in the space tree: pure.

`said_in` reads 3期2栋1单元1502, 三单元, 5号楼, 2-1-1502, "Building 5, Unit 2", B2 garage. `resolve` finds that in the
tree: what is left out is taken from the reporter's own home, what does not exist or may be several is left to a person.
"""

import re
import unicodedata
from collections.abc import Collection, Iterable, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from uuid import UUID

from app.people.tables import SpaceKind
from app.safety.numerals import parse_chinese

HAN_NUMBER = "零〇一二三四五六七八九十百两"
NUMBER = rf"(?:\d{{1,4}}|[{HAN_NUMBER}]{{1,5}})"
LETTER = r"[A-Za-z]\d{0,2}"
COUNTERS = re.compile(
    r"(号楼|号院|栋|幢|座|楼|期|区|单元|门|号|室|房|#)+$|^(building|block|tower|unit|phase|room)\s*", re.IGNORECASE
)


class Level(StrEnum):
    """What an address is made of. The first four are kinds of the space tree, by their names."""

    PHASE = "phase"
    BUILDING = "building"
    UNIT = "unit"
    ROOM = "room"
    FLOOR = "floor"
    BASEMENT = "basement"


KINDS = (Level.PHASE, Level.BUILDING, Level.UNIT, Level.ROOM)

DASHED = (
    re.compile(r"(?<![\d.-])(?P<building>\d{1,3})-(?P<unit>\d{1,2})-(?P<room>\d{3,4})(?![\d-])"),
    re.compile(r"(?<![\d.:-])(?P<building>\d{1,3})-(?P<room>\d{3,4})(?![\d.:-])"),
)
"""2-1-1502 is building, unit, room; 2-1502 is building, room."""

WAYS: dict[Level, tuple[str, ...]] = {
    Level.PHASE: (rf"第?({NUMBER})期", r"phase\s*(\d{1,2})"),
    Level.BUILDING: (
        rf"({NUMBER}|{LETTER})\s*(?:号楼|栋|幢|座|#楼|#)",
        r"\b(?:building|bldg\.?|block|tower)\s*(?:no\.?\s*)?(\d{1,3}|[a-z])\b",
    ),
    Level.UNIT: (rf"({NUMBER}|{LETTER})\s*单元", r"\bunit\s*(?:no\.?\s*)?(\d{1,2}|[a-z])\b"),
    Level.ROOM: (
        r"(?:单元|栋|号楼|幢|座|#)\s*的?([A-Za-z]?\d{3,4})(?!\d|元|块|度|年)",
        r"(?<![\d.])(\d{3,4})\s*(?:室|房间|房|号房|户)",
        r"\b(?:room|flat|apartment|apt\.?|rm\.?)\s*(?:no\.?\s*)?([a-z]?\d{2,4})\b",
        r"(?:楼上|楼下|隔壁|我家|我是|家是)\s*(\d{3,4})(?!\d|元|块|度)",
    ),
    Level.BASEMENT: (
        r"(?:(?<![A-Za-z])B|负)\s*([1-5一二三四五])(?!\d|-\d)",
        r"地下([1-5一二三四五])层",
        r"\bbasement\s*(?:level\s*)?(\d)",
    ),
    Level.FLOOR: (
        rf"(?<![\d负])({NUMBER})\s*(?:楼|层)(?!道|梯|栋)",
        r"\b(\d{1,2})(?:st|nd|rd|th)\s+floor",
        r"\bfloor\s*(\d{1,2})",
    ),
}
PATTERNS: dict[Level, re.Pattern[str]] = {
    level: re.compile("|".join(ways), re.IGNORECASE) for level, ways in WAYS.items()
}
"""Each way of saying a level, its number in whichever group matched. Earlier levels take their characters away."""

SPOTS: tuple[tuple[str, re.Pattern[str]], ...] = tuple(
    (name, re.compile(pattern, re.I))
    for name, pattern in (
        ("garage", r"(?:地下)?车库|地库|停车场|\bgarage\b|\bcar park\b|\bbasement\b"),
        ("stairwell", r"楼道|楼到|楼梯间?|走廊|过道|\bstair\w*|\bcorridor\b|\bhallway\b"),
        ("lobby", r"大堂|大厅|门厅|架空层|\blobby\b"),
        ("gate", r"大门|南门|北门|东门|西门|门岗|岗亭|\bgate\b"),
        ("lift", r"电梯|电提|电题|升降机|货梯|客梯|\blifts?\b|\belevat\w+"),
        ("garden", r"绿化带?|草坪|花园|花坛|\bgarden\b|\blawn\b"),
        ("playground", r"滑梯|秋千|游乐|健身器材|操场|\bplayground\b|\bslide\b|\bswing\b"),
        ("waste_room", r"垃圾房|垃圾站|垃圾桶|\bbin room\b|\brubbish room\b"),
        ("clubhouse", r"会所|健身房|泳池|\bclubhouse\b|\bgym\b|\bpool\b"),
        ("roof", r"楼顶|屋面|天台|\broof\b"),
        ("kitchen", r"厨房|\bkitchen\b"),
        ("bathroom", r"卫生间|洗手间|厕所|浴室|淋浴|\bbathroom\b|\btoilet\b|\bshower\b"),
        ("balcony", r"阳台|露台|\bbalcony\b"),
        ("bedroom", r"卧室?|主卧|次卧|\bbedroom\b"),
        ("living_room", r"客厅|\bliving room\b"),
    )
)
"""Spots by name; the first eight lie outside homes, `PUBLIC_SPOTS`."""
PUBLIC_SPOTS = frozenset(
    {"garage", "stairwell", "lobby", "gate", "lift", "garden", "playground", "waste_room", "clubhouse", "roof"}
)
OF_A_UNIT = frozenset({"stairwell", "lobby", "lift", "roof"})
"""Public spots that every stairwell has: without an address the reporter's own is meant."""


@dataclass(frozen=True, slots=True)
class Said:
    """What a text says of a place: numbers as digits or capital letters, and a spot."""

    phase: str = ""
    building: str = ""
    unit: str = ""
    room: str = ""
    floor: str = ""
    basement: str = ""
    spot: str = ""

    @property
    def is_address(self) -> bool:
        return bool(self.phase or self.building or self.unit or self.room)

    def facts(self) -> dict[str, str]:
        """What was said, by name."""
        return {name: value for name, value in asdict(self).items() if value}


@dataclass(frozen=True, slots=True)
class Node:
    """A space as `resolve` needs it."""

    id: UUID
    parent_id: UUID | None
    building_id: UUID | None
    kind: SpaceKind
    name: str
    label: str


class Found(StrEnum):
    """How sure a place is: read in the text, taken from the reporter's home, or still to be asked."""

    SAID = "said"
    HOME = "home"
    UNKNOWN = "unknown"
    """An address was said that does not exist, or that may be several."""
    NONE = "none"
    """Nothing was said and nobody's home is known."""


@dataclass(frozen=True, slots=True)
class Place:
    space_id: UUID | None
    building_id: UUID | None
    label: str
    found: Found


def number_of(text: str) -> str:
    """Digits without leading zeros, or capital letters: 三, 3 and ３ are "3", b is "B"."""
    text = unicodedata.normalize("NFKC", text).strip().upper()
    if text and all(char in HAN_NUMBER for char in text):
        value = parse_chinese(text)
        return str(value) if value is not None else ""
    return str(int(text)) if text.isdecimal() else text


def key_of(name: str) -> str:
    """What a space is called by: 二期, 2期 and "Phase 2" are "2"; 3栋 is "3", A座 is "A"."""
    bare = COUNTERS.sub("", unicodedata.normalize("NFKC", name).strip()) or name
    return number_of(bare)


def said_in(text: str) -> Said:
    """The place a text names. The first mention of a level counts."""
    text = whole = unicodedata.normalize("NFKC", text)
    values: dict[str, str] = {}
    for pattern in DASHED:
        if match := pattern.search(text):
            values |= {level: number_of(value) for level, value in match.groupdict().items()}
            text = text[: match.start()] + " " * len(match.group()) + text[match.end() :]
            break
    for level, pattern in PATTERNS.items():
        for match in pattern.finditer(text):
            value = number_of(next(group for group in match.groups() if group))
            if value and level not in values:
                values[level] = value
            # 5号楼 is no fifth floor; but the counter before a room stays for the levels above it.
            if level not in (Level.ROOM, Level.BUILDING, Level.UNIT):
                text = text[: match.start()] + " " * len(match.group()) + text[match.end() :]
    spot = next((name for name, pattern in SPOTS if pattern.search(whole)), "")
    return Said(**values, spot=spot)


def resolve(said: Said, nodes: Iterable[Node], home: Node | None) -> Place:
    """Where it is. `nodes`: all of the tree above the rooms, the rooms of that number, and the reporter's home with
    everything above it. `home` is the reporter's only room, if there is one.
    """
    tree = {node.id: node for node in nodes}
    if home is not None:
        tree[home.id] = home
    if not said.is_address:
        return _unnamed(said, tree, home)
    own = {node.kind: node for node in _line(home, tree)} if home else {}
    # Who names a stairwell or a room without a building speaks of their own building.
    within: list[Node | None] = [None if said.building or said.phase else own.get(SpaceKind.BUILDING)]
    found: list[Node] = []
    for level in KINDS:
        value, kind = getattr(said, level), SpaceKind(level)
        if not value:
            continue
        fitting = [node for node in tree.values() if node.kind is kind and key_of(node.name) == value]
        below = [node for node in fitting if any(_is_below(node, top, tree) for top in within)]
        if not below:
            return Place(None, *_known(found), Found.UNKNOWN)
        found = _nearest(below, own)
        within = list(found)
    if len(found) != 1:
        return Place(None, None, "", Found.UNKNOWN)
    return Place(found[0].id, found[0].building_id, found[0].label, Found.SAID)


def _unnamed(said: Said, tree: dict[UUID, Node], home: Node | None) -> Place:
    if home is None or (said.spot in PUBLIC_SPOTS and said.spot not in OF_A_UNIT):
        return Place(None, None, "", Found.NONE)
    if said.spot in OF_A_UNIT:
        above = [node for node in _line(home, tree) if node.kind in (SpaceKind.UNIT, SpaceKind.BUILDING)]
        home = above[0] if above else home
    return Place(home.id, home.building_id, home.label, Found.HOME)


def _known(found: Sequence[Node]) -> tuple[UUID | None, str]:
    """Building and label of what was found before a level was not."""
    return (found[0].building_id, found[0].label) if len(found) == 1 else (None, "")


def _nearest(nodes: list[Node], own: dict[SpaceKind, Node]) -> list[Node]:
    """Of several that bear the name, the one on the reporter's own way home, else in their building or phase."""
    if len(nodes) == 1 or not own:
        return nodes
    mine = {node.id for node in own.values()}
    for near in (
        [node for node in nodes if node.id in mine],
        [node for node in nodes if node.parent_id in mine],
        [node for node in nodes if node.building_id is not None and node.building_id in mine],
    ):
        if near:
            return near
    return nodes


def _line(node: Node | None, tree: dict[UUID, Node]) -> list[Node]:
    """The node and all above it, upwards."""
    line: list[Node] = []
    while node is not None and len(line) < len(SpaceKind):
        line.append(node)
        node = tree.get(node.parent_id) if node.parent_id else None
    return line


def _is_below(node: Node, top: Node | None, tree: dict[UUID, Node]) -> bool:
    return top is None or any(above.id == top.id for above in _line(node, tree))


def room_names(number: str) -> Collection[str]:
    """How a room of this number may be called in a tree."""
    return {digits + counter for digits in (number, number.zfill(4)) for counter in ("", "室", "房", "号", "户")}

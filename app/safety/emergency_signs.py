"""Which concepts of `emergency_words.yaml` together make an emergency, and which make it none after all."""

from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property


class EmergencyKind(StrEnum):
    """The gravest first: of several in one text, that one is answered."""

    FIRE = "fire"
    GAS = "gas"
    ELECTRIC = "electric"
    FALLING_OBJECT_INJURY = "falling_object_injury"
    VIOLENCE = "violence"
    MEDICAL = "medical"
    TRAPPED = "trapped"
    MISSING_PERSON = "missing_person"
    FLOOD = "flood"


Kind = EmergencyKind
GRAVITY = {kind: rank for rank, kind in enumerate(EmergencyKind)}


@dataclass(frozen=True)
class Sign:
    """Concepts that stand close together in a text. Those of `without` may not stand in their clauses, those of
    `not_between` neither between them nor right after ("my daughter's card is missing"). A `weak` sign is a hint for
    the second voice; a `broad` one alarms, unless that voice is all but sure that it is nothing.
    """

    kind: EmergencyKind
    concepts: tuple[str, ...]
    reach_chars: int
    without: tuple[str, ...] = ()
    not_between: tuple[str, ...] = ()
    weak: bool = False
    broad: bool = False

    @cached_property
    def needed(self) -> frozenset[str]:
        return frozenset(self.concepts)


@dataclass(frozen=True)
class TakeBack:
    """A concept that makes a sign none. `within` is the text, the sentence or the clause of the sign, or what comes
    `before` it in its clause.

    `but` names concepts that stand against it anywhere in the text: "the drill is over, this is real". What is not
    `final` leaves the sign unsure.
    """

    concept: str
    kinds: frozenset[EmergencyKind] = frozenset(EmergencyKind)
    within: str = "sentence"
    but: tuple[str, ...] = ()
    also: str = ""
    final: bool = False


HAN_REACH, LATIN_REACH = 30, 80


def _sign(
    kind: EmergencyKind, concepts: str, *, reach: int = HAN_REACH, without: str = "", not_between: str = "",
    weak: bool = False, broad: bool = False,
) -> Sign:  # fmt: skip
    return Sign(kind, tuple(concepts.split()), reach, tuple(without.split()), tuple(not_between.split()), weak, broad)


SIGNS: tuple[Sign, ...] = (
    _sign(Kind.TRAPPED, "trapped", without="things_stuck", broad=True),
    _sign(Kind.TRAPPED, "lift stuck", without="things_stuck", broad=True),
    _sign(Kind.TRAPPED, "lift jam_in", without="things_stuck"),
    _sign(Kind.TRAPPED, "lift halted inside", broad=True),
    _sign(Kind.TRAPPED, "lift cry_inside"),
    _sign(Kind.TRAPPED, "lift help", broad=True),
    _sign(Kind.TRAPPED, "lift jam cry", without="things_stuck"),
    _sign(Kind.TRAPPED, "lift halt_now person", reach=20),
    _sign(Kind.TRAPPED, "lift halted people_count", reach=20),
    _sign(Kind.TRAPPED, "lift jam people_count", reach=20, without="things_stuck"),
    _sign(Kind.TRAPPED, "lift lift_plea", broad=True),
    _sign(Kind.TRAPPED, "lift plunge", broad=True),
    _sign(Kind.TRAPPED, "lift halted dark"),
    _sign(Kind.TRAPPED, "between_floors lift inside"),
    _sign(Kind.TRAPPED, "between_floors lift cry"),
    _sign(Kind.TRAPPED, "between_floors jam", without="things_stuck"),
    _sign(Kind.TRAPPED, "between_floors halted", broad=True),
    _sign(Kind.TRAPPED, "between_floors stuck"),
    _sign(Kind.TRAPPED, "jam between_numbers", reach=14, without="things_stuck"),
    _sign(Kind.TRAPPED, "halted between_numbers inside"),
    _sign(Kind.TRAPPED, "lift_alarm unanswered inside"),
    _sign(Kind.TRAPPED, "lift_alarm unanswered stuck"),
    _sign(Kind.TRAPPED, "stuck confined", without="things_stuck pets", broad=True),
    _sign(Kind.TRAPPED, "stuck inside", without="things_stuck"),
    _sign(Kind.TRAPPED, "door_broken inside", reach=20, without="things_stuck", broad=True),
    _sign(Kind.TRAPPED, "locked_in confined", reach=14, without="things_stuck"),
    _sign(Kind.TRAPPED, "held_room person", weak=True),
    _sign(Kind.TRAPPED, "locked_in person", without="things_stuck"),
    _sign(Kind.TRAPPED, "young locked_up", reach=14),
    _sign(Kind.TRAPPED, "kin confined locked_up", without="pets"),
    _sign(Kind.TRAPPED, "caught", without="things_stuck"),
    _sign(Kind.TRAPPED, "crushed"),
    _sign(Kind.TRAPPED, "pinch limb", reach=8, without="things_stuck"),
    _sign(Kind.TRAPPED, "nip kin", reach=3),
    _sign(Kind.TRAPPED, "lift pinch kin", reach=14),
    _sign(Kind.GAS, "gas_smell", broad=True),
    _sign(Kind.GAS, "gas leaking", broad=True),
    _sign(Kind.GAS, "gas smell", reach=14, broad=True),
    _sign(Kind.GAS, "gas plenty", reach=10),
    _sign(Kind.GAS, "leak_sound smell"),
    _sign(Kind.GAS, "rotten_eggs", without="drain", broad=True),
    _sign(Kind.GAS, "gas_poisoning"),
    _sign(Kind.GAS, "gas_alarm ringing", reach=12, broad=True),
    _sign(Kind.GAS, "carbon_monoxide ringing", reach=16),
    _sign(Kind.GAS, "burner dizzy"),
    _sign(Kind.GAS, "leak_sound dizzy"),
    _sign(Kind.GAS, "gas flame_off", broad=True),
    _sign(Kind.GAS, "gas forgot", broad=True),
    _sign(Kind.GAS, "stove leak_sound", without="tyres"),
    _sign(Kind.GAS, "stove flame_off smell"),
    _sign(Kind.GAS, "knob flame_off smell"),
    _sign(Kind.GAS, "kitchen_gas"),
    _sign(Kind.GAS, "knob smell plenty", weak=True),
    _sign(Kind.GAS, "alarm_word smell ringing"),
    _sign(Kind.GAS, "stove leaking smell"),
    _sign(Kind.FIRE, "burning", broad=True),
    _sign(Kind.FIRE, "burnable ablaze", reach=8, broad=True),
    _sign(Kind.FIRE, "burnable lit", reach=1),
    _sign(Kind.FIRE, "burnable arson", reach=10),
    _sign(Kind.FIRE, "fire_cry", broad=True),
    _sign(Kind.FIRE, "fire_word burnable", reach=8, broad=True),
    _sign(Kind.FIRE, "fire_word help"),
    _sign(Kind.FIRE, "smoke", without="cooking", broad=True),
    _sign(Kind.FIRE, "smoke_alarm ringing", reach=10, without="cooking", broad=True),
    _sign(Kind.FIRE, "smoke_alarm smoke", without="cooking"),
    _sign(Kind.FIRE, "burnt_smell", without="cooking", broad=True),
    _sign(Kind.FIRE, "explosion explosive", reach=12, broad=True),
    _sign(Kind.FLOOD, "pipe_burst", broad=True),
    _sign(Kind.FLOOD, "pipe_noun sprays", reach=10),
    _sign(Kind.FLOOD, "spraying water", broad=True),
    _sign(Kind.FLOOD, "spraying water_place", reach=14, broad=True),
    _sign(Kind.FLOOD, "flooded water_place", broad=True),
    _sign(Kind.FLOOD, "flooded water", broad=True),
    _sign(Kind.FLOOD, "cannot_stop_water water flow"),
    _sign(Kind.FLOOD, "leak_heavy water"),
    _sign(Kind.FLOOD, "ceiling coming_down", reach=14),
    _sign(Kind.FLOOD, "leak_flow short_circuit", reach=16),
    _sign(Kind.MEDICAL, "fainted", without="ceiling", broad=True),
    _sign(Kind.MEDICAL, "down kin", reach=12),
    _sign(Kind.MEDICAL, "lying patient lying_place", reach=16, without="resting"),
    _sign(Kind.MEDICAL, "lying kin lying_place", reach=16, without="resting"),
    _sign(Kind.MEDICAL, "down patient", reach=10),
    _sign(Kind.MEDICAL, "no_response kin"),
    _sign(Kind.MEDICAL, "no_response patient", reach=14),
    _sign(Kind.MEDICAL, "breath"),
    _sign(Kind.MEDICAL, "attack", broad=True),
    _sign(Kind.MEDICAL, "chest breath"),
    _sign(Kind.MEDICAL, "fever_fit fever"),
    _sign(Kind.MEDICAL, "kin fit", reach=6),
    _sign(Kind.MEDICAL, "allergy swollen"),
    _sign(Kind.MEDICAL, "kin lost_mind", reach=16),
    _sign(Kind.MEDICAL, "kin stroke_signs", reach=14),
    _sign(Kind.MEDICAL, "kin chest", broad=True),
    _sign(Kind.MEDICAL, "pregnant bleed"),
    _sign(Kind.MEDICAL, "pregnant pain severe"),
    _sign(Kind.MEDICAL, "limb machine", reach=14),
    _sign(Kind.MEDICAL, "stroke_word kin", reach=8),
    _sign(Kind.MEDICAL, "stroke_word cry", reach=16),
    _sign(Kind.MEDICAL, "choking"),
    _sign(Kind.MEDICAL, "pain severe", reach=14),
    _sign(Kind.MEDICAL, "dizzy_bad severe", reach=14, broad=True),
    _sign(Kind.MEDICAL, "chest look_ill"),
    _sign(Kind.MEDICAL, "drank chemical", reach=10, broad=True),
    _sign(Kind.MEDICAL, "cut_off", broad=True),
    _sign(Kind.MEDICAL, "jump height"),
    _sign(Kind.MEDICAL, "fell_in hole kin", reach=14),
    _sign(Kind.MEDICAL, "fell_in hole patient", reach=14),
    _sign(Kind.MEDICAL, "dizzy_now kin", reach=10),
    _sign(Kind.MEDICAL, "smother kin"),
    _sign(Kind.MEDICAL, "drowning", broad=True),
    _sign(Kind.MEDICAL, "blood", broad=True),
    _sign(Kind.MEDICAL, "bleed much", reach=14),
    _sign(Kind.MEDICAL, "bleed kin", reach=16),
    _sign(Kind.MEDICAL, "bleed patient", reach=14),
    _sign(Kind.MEDICAL, "suicide"),
    _sign(Kind.MEDICAL, "fell_sure", broad=True),
    _sign(Kind.MEDICAL, "bone_out"),
    _sign(Kind.MEDICAL, "edge patient", reach=14),
    _sign(Kind.MEDICAL, "edge kin", reach=14),
    _sign(Kind.MEDICAL, "fell_far kin", not_between="belonging"),
    _sign(Kind.MEDICAL, "fell_far patient", reach=14, not_between="belonging"),
    _sign(Kind.MEDICAL, "fell cannot_rise"),
    _sign(Kind.MEDICAL, "fell_light cannot_rise"),
    _sign(Kind.MEDICAL, "fell kin", reach=8, not_between="belonging", broad=True),
    _sign(Kind.MEDICAL, "poison", broad=True),
    _sign(Kind.MEDICAL, "swallow swallowed_what", reach=12, broad=True),
    _sign(Kind.MEDICAL, "birth"),
    _sign(Kind.MEDICAL, "heatstroke confused", broad=True),
    _sign(Kind.MEDICAL, "heatstroke kin"),
    _sign(Kind.MEDICAL, "heatstroke patient", reach=10),
    _sign(Kind.MEDICAL, "burns burns_bad", reach=16),
    _sign(Kind.MEDICAL, "burns kin", reach=12),
    _sign(Kind.MEDICAL, "crash hurt", reach=16),
    _sign(Kind.MEDICAL, "crash_sure"),
    _sign(Kind.MEDICAL, "injured patient", reach=12),
    _sign(Kind.MEDICAL, "injured kin", reach=12),
    _sign(Kind.MEDICAL, "ambulance"),
    _sign(Kind.MEDICAL, "ambulance_word cry", reach=14),
    _sign(Kind.MEDICAL, "dying", broad=True),
    _sign(Kind.MEDICAL, "kin dying_soft", reach=3),
    _sign(Kind.MEDICAL, "bitten bleed"),
    _sign(Kind.MEDICAL, "bitten kin", reach=10, broad=True),
    _sign(Kind.MEDICAL, "bite_sure"),
    _sign(Kind.MEDICAL, "serious_sickness"),
    _sign(Kind.MEDICAL, "welfare frail"),
    _sign(Kind.MISSING_PERSON, "astray", without="pets", not_between="belonging", broad=True),
    _sign(Kind.MISSING_PERSON, "kin gone", reach=24, not_between="belonging", broad=True),
    _sign(Kind.MISSING_PERSON, "dementia gone", without="pets"),
    _sign(Kind.MISSING_PERSON, "dementia out_alone"),
    _sign(Kind.MISSING_PERSON, "kin gone_now just_now"),
    _sign(Kind.MISSING_PERSON, "kin search gone"),
    _sign(Kind.MISSING_PERSON, "child_word gone", not_between="belonging", broad=True),
    _sign(Kind.MISSING_PERSON, "seen kin gone", not_between="belonging"),
    _sign(Kind.MISSING_PERSON, "seen kin looks", reach=24, without="pets"),
    _sign(Kind.MISSING_PERSON, "home_lost", broad=True),
    _sign(Kind.MISSING_PERSON, "child_word home_lost"),
    _sign(Kind.MISSING_PERSON, "child_word alone_word", broad=True),
    _sign(Kind.VIOLENCE, "break_in", without="pets", broad=True),
    _sign(Kind.VIOLENCE, "fight", without="spats", broad=True),
    _sign(Kind.VIOLENCE, "weapon"),
    _sign(Kind.VIOLENCE, "stranger hiding_knife"),
    _sign(Kind.VIOLENCE, "sees_attack again"),
    _sign(Kind.VIOLENCE, "armed"),
    _sign(Kind.VIOLENCE, "knife threat"),
    _sign(Kind.VIOLENCE, "knife fight"),
    _sign(Kind.VIOLENCE, "threat_sure"),
    _sign(Kind.VIOLENCE, "robbery", broad=True),
    _sign(Kind.VIOLENCE, "stalking", without="pets", broad=True),
    _sign(Kind.VIOLENCE, "stranger follow", reach=14),
    _sign(Kind.VIOLENCE, "stranger try_open", reach=14),
    _sign(Kind.VIOLENCE, "stranger keys_try", reach=14),
    _sign(Kind.VIOLENCE, "home_noise night"),
    _sign(Kind.VIOLENCE, "home_noise fear_hide"),
    _sign(Kind.VIOLENCE, "stranger intrude", reach=14),
    _sign(Kind.VIOLENCE, "stranger lurk fear_hide"),
    _sign(Kind.VIOLENCE, "stranger at_door fear_hide"),
    _sign(Kind.VIOLENCE, "bullying fight"),
    _sign(Kind.VIOLENCE, "screams next_door", reach=12, without="lift pets spats", broad=True),
    _sign(Kind.VIOLENCE, "police"),
    _sign(Kind.FALLING_OBJECT_INJURY, "falling struck victim", without="near_miss", broad=True),
    _sign(Kind.FALLING_OBJECT_INJURY, "falling wound victim", without="near_miss"),
    _sign(Kind.FALLING_OBJECT_INJURY, "struck wound falling", without="near_miss"),
    _sign(Kind.FALLING_OBJECT_INJURY, "heavy struck victim", reach=12, without="near_miss", broad=True),
    _sign(Kind.ELECTRIC, "shock", broad=True),
    _sign(Kind.ELECTRIC, "shocked electric_thing"),
    _sign(Kind.ELECTRIC, "electric_thing shocked_zh", reach=8),
    _sign(Kind.ELECTRIC, "sparks electric_thing", broad=True),
    _sign(Kind.ELECTRIC, "wire wire_down", reach=10, broad=True),
    _sign(Kind.ELECTRIC, "live_water"),
    _sign(Kind.ELECTRIC, "charged numb"),
    _sign(Kind.ELECTRIC, "kin in_socket"),
    _sign(Kind.ELECTRIC, "electric_thing died", reach=10, weak=True),
    _sign(Kind.ELECTRIC, "numb electric_thing"),
    _sign(Kind.ELECTRIC, "charged electric_thing touch", broad=True),
    _sign(Kind.TRAPPED, "lift halted person", weak=True),
    _sign(Kind.TRAPPED, "lift inside duration", weak=True),
    _sign(Kind.TRAPPED, "caught", weak=True),
    _sign(Kind.FIRE, "smoke", weak=True),
    _sign(Kind.FIRE, "fire_word", weak=True),
    _sign(Kind.FIRE, "burnt_smell", weak=True),
    _sign(Kind.FLOOD, "spraying", weak=True),
    _sign(Kind.FLOOD, "flooded", weak=True),
    _sign(Kind.MEDICAL, "help", weak=True),
    _sign(Kind.MEDICAL, "screams", weak=True),
    _sign(Kind.MEDICAL, "dizzy kin", weak=True),
    _sign(Kind.MEDICAL, "chest", weak=True),
    _sign(Kind.MEDICAL, "bleed", weak=True),
    _sign(Kind.VIOLENCE, "knife", weak=True),
    _sign(Kind.VIOLENCE, "threat", weak=True),
    _sign(Kind.VIOLENCE, "thief_word", weak=True),
    _sign(Kind.VIOLENCE, "thief_word fear_hide"),
    _sign(Kind.VIOLENCE, "thief_word at_door"),
    _sign(Kind.VIOLENCE, "robbed_maybe", weak=True),
    _sign(Kind.VIOLENCE, "stranger lurk", weak=True),
    _sign(Kind.VIOLENCE, "stranger at_door", reach=14, weak=True),
    _sign(Kind.VIOLENCE, "fear_hide", weak=True),
    _sign(Kind.TRAPPED, "stuck", weak=True, without="things_stuck"),
    _sign(Kind.TRAPPED, "jam kin", weak=True, reach=14),
    _sign(Kind.TRAPPED, "lift halted", weak=True),
    _sign(Kind.TRAPPED, "lift between_floors", weak=True),
    _sign(Kind.TRAPPED, "lift_alarm unanswered", weak=True),
    _sign(Kind.MEDICAL, "dying_soft", weak=True),
    _sign(Kind.MEDICAL, "fit", weak=True),
    _sign(Kind.MISSING_PERSON, "child_word alone_cry", weak=True),
    _sign(Kind.MEDICAL, "lost_mind", weak=True),
    _sign(Kind.TRAPPED, "limb insert", weak=True, reach=8),
    _sign(Kind.TRAPPED, "door_broken person", weak=True),
    _sign(Kind.VIOLENCE, "home_noise", weak=True),
    _sign(Kind.MISSING_PERSON, "stranger take_kid kin", weak=True),
    _sign(Kind.FIRE, "lit", weak=True),
    _sign(Kind.GAS, "alarm_word ringing", weak=True),
    _sign(Kind.GAS, "leak_sound", weak=True),
    _sign(Kind.VIOLENCE, "bullying", weak=True),
    _sign(Kind.MEDICAL, "no_response", weak=True),
    _sign(Kind.MEDICAL, "cannot_rise", weak=True),
    _sign(Kind.MISSING_PERSON, "kin out_alone", weak=True),
    _sign(Kind.MISSING_PERSON, "kin search", weak=True),
    _sign(Kind.GAS, "smell leaking", weak=True),
    _sign(Kind.GAS, "rotten_eggs", weak=True),
    _sign(Kind.FIRE, "arson", weak=True),
    _sign(Kind.FALLING_OBJECT_INJURY, "falling victim", weak=True, reach=16),
    _sign(Kind.FALLING_OBJECT_INJURY, "struck victim", weak=True, reach=10),
    _sign(Kind.ELECTRIC, "numb", weak=True),
    _sign(Kind.ELECTRIC, "sparks", weak=True),
    _sign(Kind.ELECTRIC, "wire wire_down", weak=True),
)

_LIFE = frozenset({Kind.MEDICAL, Kind.FIRE, Kind.VIOLENCE})
_ALL_BUT_MISSING = frozenset(EmergencyKind) - {Kind.MISSING_PERSON}

TAKE_BACKS: tuple[TakeBack, ...] = (
    TakeBack("notice", within="text", but=("cry", "now"), final=True),
    TakeBack("nobody_inside", frozenset({Kind.TRAPPED}), within="text", final=True),
    TakeBack("resolved", within="text", but=("now", "still")),
    TakeBack("fire_out", frozenset({Kind.FIRE}), within="text", but=("now", "still")),
    TakeBack("found_again", frozenset({Kind.MISSING_PERSON}), within="text", but=("now",)),
    TakeBack("past", _ALL_BUT_MISSING, but=("now", "cry")),
    TakeBack("if_word", within="before", but=("cry", "now")),
    TakeBack("risk", within="before", but=("now",)),
    TakeBack("real_question", but=("cry",)),
    TakeBack("first_aid_kit", frozenset({Kind.MEDICAL}), within="text", but=("blood", "cannot_rise")),
    TakeBack(
        "minor_harm", frozenset({Kind.MEDICAL}), within="text", but=("blood", "cannot_rise", "no_response", "breath")
    ),
    TakeBack("talk", within="clause", but=("cry", "now")),
    TakeBack("asks", within="clause", but=("cry", "now", "mine")),
    TakeBack("tool", but=("cry", "now", "mine", "ringing", "dizzy", "explosion", "swallow")),
    TakeBack("exaggeration", _LIFE, but=("cry", "kin")),
    TakeBack("hazard", frozenset({Kind.FIRE}), also="hazard_ask", but=("cry", "now", "smoke")),
    TakeBack("minor", frozenset({Kind.FLOOD}), but=("pipe_burst", "flooded")),
)

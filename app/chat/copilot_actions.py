"""What staff might do next, from what a resident's words are about. Pure: data, and a rule that reads it."""

from enum import StrEnum

from app.service_desk.tables import Urgency
from app.service_desk.triage import Triage


class Action(StrEnum):
    EMERGENCY = "emergency"
    OPEN_ORDER = "open_order"
    LOOK_AT_ORDER = "look_at_order"
    LOOK_AT_ACCOUNT = "look_at_account"
    ANSWER = "answer"
    ASK = "ask"


ACTION_OF_INTENT: dict[str, Action] = {
    **dict.fromkeys(
        ("emg_trapped", "emg_gas_fire", "emg_water", "emg_person", "emg_security"), Action.EMERGENCY
    ),
    **dict.fromkeys(
        (
            "repair_unit", "repair_public", "repair_elevator", "outage_query", "access_problem", "ev_charging",
            "parking_report", "noise", "hygiene", "pet", "staff_complaint", "falling_object", "suggestion",
            "bill_dispute", "elder_care",
        ),
        Action.OPEN_ORDER,
    ),
    **dict.fromkeys(("repair_status", "repair_urge", "repair_change", "repair_rate"), Action.LOOK_AT_ORDER),
    **dict.fromkeys(
        (
            "bill_query", "bill_explain", "bill_pay", "invoice", "refund", "meter_report", "energy_query", "bind_room",
            "visitor_create", "visitor_manage", "parking_monthly", "privacy",
        ),
        Action.LOOK_AT_ACCOUNT,
    ),
    **dict.fromkeys(
        (
            "repair_price", "parking_temp", "notice_query", "service_guide", "renovation", "item_release",
            "facility_booking", "activity", "local_service", "parcel", "lost_found", "vote_survey", "smalltalk",
            "out_of_scope",
        ),
        Action.ANSWER,
    ),
    **dict.fromkeys(("human", "control", "multi_intent", "abuse_or_attack"), Action.ASK),
}  # fmt: skip
"""Every intent of the classifier; a test proves it complete."""

TEXTS: dict[Action, dict[str, str]] = {
    Action.EMERGENCY: {
        "zh": "像是紧急情况：先电话确认人身安全，按应急流程派人。",
        "en": "This looks like an emergency: call to make sure that people are safe, and send somebody.",
    },
    Action.OPEN_ORDER: {"zh": "建议开一张工单。", "en": "Open a work order."},
    Action.LOOK_AT_ORDER: {
        "zh": "住户在问已有的工单：先查进度再答复。",
        "en": "This is about an order there is: look at it, then answer.",
    },
    Action.LOOK_AT_ACCOUNT: {
        "zh": "要看住户自己的资料：核对身份后再查。",
        "en": "This needs the resident's own record: make sure who it is, then look.",
    },
    Action.ANSWER: {
        "zh": "可以直接答复：让助手拟一份带出处的回复。",
        "en": "This can be answered: have a reply with its sources drafted.",
    },
    Action.ASK: {"zh": "还不清楚要什么：先问一句。", "en": "It is not clear what is wanted: ask."},
}


def choose(thought: Triage) -> Action:
    """An emergency comes first, whatever else is said."""
    action = ACTION_OF_INTENT[thought.intents[0][0]]
    if thought.urgency is Urgency.EMERGENCY:
        return Action.EMERGENCY
    # The classifier alone is no reason to call an emergency: a person asks.
    return Action.ASK if action is Action.EMERGENCY else action

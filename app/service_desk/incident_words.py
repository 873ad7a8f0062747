"""What people are told of an incident, in both languages: {"zh": …, "en": …}. Pure."""

from datetime import datetime
from zoneinfo import ZoneInfo

from app.people.local_time import clock
from app.service_desk.incident_kinds import KINDS, IncidentKind
from app.service_desk.incident_tables import Incident, IncidentNews, IncidentStatus

Words = dict[str, str]


def heading(kind: IncidentKind, place: str) -> str:
    """The title of an incident that Linli opens: where and what, 2栋1单元停水."""
    return f"{place}{KINDS[kind].zh}"


def title(incident: Incident) -> Words:
    return {"zh": incident.title, "en": f"{incident.title} ({KINDS[incident.kind].en})"}


def known_since(incident: Incident, zone: ZoneInfo, *, now: datetime, following: bool = False) -> Words:
    """What is offered before an order is opened: "known since 08:10, expected 12:00; follow?"."""
    said = how_it_stands(incident, zone, now=now)
    ask = {"zh": "您已关注，有进展会通知您。", "en": "You follow it and will be told how it goes on."}
    if not following:
        ask = {"zh": "要关注进展吗？", "en": "Follow it?"}
    return {"zh": f"{said['zh']}。{ask['zh']}", "en": f"{said['en']}. {ask['en']}"}


def how_it_stands(incident: Incident, zone: ZoneInfo, *, now: datetime) -> Words:
    """Since when it is known and until when it is expected to last, without a full stop."""
    zh = f"{incident.title}：{clock(incident.began_at, zone, 'zh')}起已知悉"
    en = f"{incident.title}: known since {clock(incident.began_at, zone, 'en')}"
    if incident.status is IncidentStatus.SUSPECTED:
        zh = f"{incident.title}：{clock(incident.began_at, zone, 'zh')}起有多户反映，正在核实"
        en = f"{incident.title}: reported by several homes since {clock(incident.began_at, zone, 'en')}, being checked"
    if incident.expected_end_at is not None and incident.expected_end_at > now:
        zh += f"，预计{clock(incident.expected_end_at, zone, 'zh')}恢复"
        en += f", expected to end {clock(incident.expected_end_at, zone, 'en')}"
    elif incident.expected_end_at is not None:
        zh += f"，原预计{clock(incident.expected_end_at, zone, 'zh')}恢复，现已超过，新的时间待确认"
        en += f", was expected to end {clock(incident.expected_end_at, zone, 'en')}; a new time is not known yet"
    return {"zh": zh, "en": en}


def overran(incident: Incident, zone: ZoneInfo) -> Words:
    """What followers are told when the expected end has passed."""
    at = _expected(incident, zone)
    return {
        "zh": f"原预计{at['zh']}恢复，现已超过，很抱歉。新的时间确定后会马上通知您。",
        "en": f"It was expected to end {at['en']} and has not; we are sorry. You will be told as soon as a new time is "
        "known.",
    }


def late(incident: Incident, zone: ZoneInfo) -> Words:
    """What the desk is told then, and again until somebody says something new."""
    at = _expected(incident, zone)
    return {
        "zh": f"原预计{at['zh']}恢复，现已超过。请更新预计时间，或结束该事件。",
        "en": f"It was expected to end {at['en']}. Say when it will be over, or that it is.",
    }


def _expected(incident: Incident, zone: ZoneInfo) -> Words:
    assert incident.expected_end_at is not None
    return {language: clock(incident.expected_end_at, zone, language) for language in ("zh", "en")}


def linked(incident: Incident) -> Words:
    if incident.status is IncidentStatus.SUSPECTED:
        return {
            "zh": "附近多户反映了同样的情况，物业正在核实。您的工单已一并记录，有进展会通知您。",
            "en": "Several homes near you report the same; staff are checking. Your report is counted in, and you will "
            "be told how it goes on.",
        }
    return {
        "zh": f"您反映的情况属于正在处理的事件。{incident.resident_text}有进展会通知您。",
        "en": f"What you reported is part of an incident that is being dealt with. {incident.resident_text_en} "
        "You will be told how it goes on.",
    }


def news(incident: Incident, told: IncidentNews, zone: ZoneInfo) -> Words:
    """What a follower is told of one piece of news."""
    if incident.status is IncidentStatus.DISMISSED:
        return {
            "zh": f"经核实，这不是公共故障。{told.text}您的工单会单独处理。",
            "en": f"It turned out to be no shared failure. {told.text_en} Your work order goes on by itself.",
        }
    if told.ends:
        at = incident.ended_at or told.created_at
        return {
            "zh": f"已于{clock(at, zone, 'zh')}恢复。{told.text}",
            "en": f"It ended {clock(at, zone, 'en')}. {told.text_en}".strip(),
        }
    zh, en = told.text, told.text_en
    if told.expected_end_at is not None:
        zh += f"预计{clock(told.expected_end_at, zone, 'zh')}恢复。"
        en += f" Expected to end {clock(told.expected_end_at, zone, 'en')}."
    return {
        "zh": zh or "物业已确认并正在处理，恢复时间确定后会通知您。",
        "en": en.strip() or "Staff have confirmed it and are at work. You will be told when it is expected to end.",
    }


def assignee(incident: Incident, number: int) -> Words:
    return {
        "zh": f"事件已结束，请核实并完结关联的工单 {number}。{incident.close_note}",
        "en": f"The incident is over. Please check and close the linked work order {number}.",
    }


def suspected(incident: Incident, reports: int) -> Words:
    """What the desk is told when Linli opens a suspected incident."""
    return {
        "zh": f"{reports}户在短时间内反映了相似的情况，已自动登记为疑似事件，请核实后确认或排除。",
        "en": f"{reports} homes reported alike within a short time. Confirm or dismiss it.",
    }

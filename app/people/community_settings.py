"""Every setting of a community: its type and bounds, what it is when nobody chose, and what it is for.

The fields below are the one list: the API's body, what is stored and what features read are made from it.
"""

from collections.abc import Callable, Mapping
from datetime import date, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Annotated, Any, Literal

import structlog
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError, create_model

from app.errors import Invalid
from app.people.schemas import Body, Language, Name, Phone, SettingOut, SettingsOut

log = structlog.get_logger(__name__)

Span = Annotated[
    str,
    StringConstraints(pattern=r"^([01][0-9]|2[0-3]):[0-5][0-9]-([01][0-9]|2[0-4]):[0-5][0-9]$"),
    Field(examples=["08:30-12:00"]),
]
"""Two times of a day; 24:00 is its end."""
Spans = Annotated[list[Span], Field(max_length=4)]
Days = Annotated[list[date], Field(max_length=400)]
Share = Annotated[float, Field(ge=0, le=1)]


class WorkHours(BaseModel):
    """When the staff work, by weekday; an empty list is a day off. Days that are left out have the hours given here."""

    model_config = ConfigDict(extra="forbid")
    mon: Spans = ["08:30-18:00"]
    tue: Spans = ["08:30-18:00"]
    wed: Spans = ["08:30-18:00"]
    thu: Spans = ["08:30-18:00"]
    fri: Spans = ["08:30-18:00"]
    sat: Spans = ["09:00-17:00"]
    sun: Spans = ["09:00-17:00"]

    def of(self, weekday: int) -> list[tuple[timedelta, timedelta]]:
        """From and to since midnight, of an ISO weekday: 1 is Monday."""
        spans: list[str] = getattr(self, list(type(self).model_fields)[weekday - 1])
        return [_minutes(span) for span in spans]


def _minutes(span: str) -> tuple[timedelta, timedelta]:
    begins, ends = (timedelta(hours=int(text[:2]), minutes=int(text[3:])) for text in span.split("-"))
    return begins, ends


class CommunitySettings(BaseModel):
    """The settings of a community as they are now. A field is a setting: default, bounds and description."""

    # Who we are
    assistant_name: Name = Field("邻里", description="What the assistant is called.", examples=["小邻"])
    assistant_name_en: Name = Field("Linli", description="The same in English.")
    service_phone: Phone = Field("", description="Of the property office.", examples=["021-5555 0100"])
    office_hours: Annotated[str, StringConstraints(max_length=200)] = Field(
        "", description="As residents are told them.", examples=["08:30-18:00"]
    )
    plate_rules: Literal["cn", "any"] = Field("cn", description="How number plates are checked.")

    # Whom to call in an emergency
    emergency_phone: Phone = Field("", description="Of the control room, at any hour.")
    police_phone: Phone = Field("110", description="Police.")
    fire_phone: Phone = Field("119", description="Fire brigade.")
    ambulance_phone: Phone = Field("120", description="Ambulance.")
    gas_company_phone: Phone = Field("", description="Emergency line of the gas company.")
    water_company_phone: Phone = Field("", description="Emergency line of the water company.")
    power_company_phone: Phone = Field("95598", description="Emergency line of the power company.")
    lift_company_phone: Phone = Field("", description="Of the company that maintains the lifts.")
    ring_escalate_minutes: Annotated[int, Field(ge=1, le=60)] = Field(
        3, description="Minutes in which a level of the rota has to answer before the next is rung."
    )

    # Work orders
    dispatch_mode: Literal["grab", "dispatch", "rotation"] = Field(
        "dispatch", description="Staff grab orders, or the best one is sent, or they take turns."
    )
    grab_minutes: Annotated[int, Field(ge=1, le=1440)] = Field(
        10, description="Minutes in which an offered order may be grabbed before it is given to somebody."
    )
    triage_confidence_min: Share = Field(0.6, description="Below it an order waits for a person.")
    work_orders_per_day_max: Annotated[int, Field(ge=1, le=100)] = Field(
        10, description="Work orders of one resident within 24 hours; emergencies are not counted."
    )
    work_order_duplicate_hours: Annotated[int, Field(ge=0, le=720)] = Field(
        24, description="Within so many hours the same report again is linked to the first."
    )
    work_order_reopen_days: Annotated[int, Field(ge=0, le=365)] = Field(
        7, description="Days after which what was done can no longer be reopened."
    )
    return_visit_score_max: Annotated[int, Field(ge=0, le=5)] = Field(
        2, description="A rating with a score this low or lower brings a return visit; 0: none does."
    )
    rating_wait_days: Annotated[int, Field(ge=1, le=90)] = Field(
        3, description="Days after which an unrated order is closed."
    )
    complainant_hidden: bool = Field(True, description="Whether the one complained about does not see who complained.")

    # Deadlines
    work_hours: WorkHours = Field(WorkHours(), description="Hours that count for deadlines.")
    holiday_calendar: Annotated[str, StringConstraints(pattern=r"^([A-Z]{2})?$")] = Field(
        "CN", description="Country whose public holidays do not count; empty counts every day.", examples=["CN"]
    )
    extra_holidays: Days = Field([], description="Further days that do not count.")
    extra_workdays: Days = Field([], description="Days that count although the calendar says holiday.")
    deadline_warn_percent: Annotated[int, Field(ge=1, le=99)] = Field(
        80, description="Share of the time used up at which staff are warned."
    )
    deadline_escalate_minutes: Annotated[int, Field(ge=0, le=10_080)] = Field(
        60, description="Minutes over the deadline at which managers are told."
    )

    # Incidents
    incident_match_hours: Annotated[int, Field(ge=1, le=168)] = Field(
        6, description="Hours in which reports of one place may be one incident."
    )
    incident_match_meaning_min: Share = Field(0.6, description="How alike two reports are to be one incident.")
    incident_chase_minutes: Annotated[int, Field(ge=1, le=1440)] = Field(
        30, description="Minutes after which the desk is asked again for news of an incident that lasts too long."
    )
    incident_reports_min: Annotated[int, Field(ge=2, le=100)] = Field(
        3, description="Like reports that are proposed as an incident."
    )

    # Recommendations
    recommend_provider_share_max: Share = Field(
        0.4, description="Share of a list that one outside provider has at most, while others have something."
    )
    recommend_exploration: Annotated[float, Field(ge=0, le=0.5)] = Field(
        0.05, description="How often a place of a list is drawn by lot among the best, to learn what else is liked."
    )
    recommend_seen_days_max: Annotated[int, Field(ge=1, le=100)] = Field(
        5, description="On so many days an item is shown to somebody who does nothing with it; then it rests."
    )

    # Conversations and messages
    handoff_wait_minutes: Annotated[int, Field(ge=1, le=240)] = Field(
        10, description="How long a resident waits for a person until both are told again."
    )
    default_language: Language = Field("zh", description="Of messages to people who chose none.")
    quiet_hours: Span | Literal[""] = Field(
        "22:00-07:00", description="No messages but emergencies; may go past midnight.", examples=["22:00-08:00"]
    )
    campaign_cap_messages: Annotated[int, Field(ge=0, le=100)] = Field(
        2, description="Campaigns that one resident is sent at most within `campaign_cap_days`; 0: none at all."
    )
    campaign_cap_days: Annotated[int, Field(ge=1, le=90)] = Field(7, description="Days over which they are counted.")
    analytics_households_min: Annotated[int, Field(ge=1, le=100)] = Field(
        5, description="Smaller groups are not shown."
    )


BUILT_IN: dict[str, Any] = CommunitySettings().model_dump(mode="json")
"""Every setting with the value it has when nobody chose one."""

ADAPTERS: dict[str, TypeAdapter[Any]] = {
    name: TypeAdapter(field.rebuild_annotation()) for name, field in CommunitySettings.model_fields.items()
}

if TYPE_CHECKING:

    class SettingsChange(Body): ...
else:
    SettingsChange = create_model(
        "SettingsChange",
        __base__=Body,
        __doc__="Overrides of this community. `null` takes one back; what is left out stays.",
        **{
            name: (
                field.rebuild_annotation() | None,
                Field(None, description=field.description, examples=field.examples),
            )
            for name, field in CommunitySettings.model_fields.items()
        },
    )


class SettingInvalid(Invalid):
    code = "setting_invalid"

    def __init__(self, name: str, en: str, zh: str) -> None:
        super().__init__(f"{name}: {en}", f"{name}：{zh}", setting=name)


def check_work_hours(name: str, hours: WorkHours) -> None:
    for day in WorkHours.model_fields:
        spans = [_minutes(span) for span in getattr(hours, day)]
        ends_right = all(begins < ends <= timedelta(days=1) for begins, ends in spans)
        if not ends_right or any(later[0] < earlier[1] for earlier, later in pairwise(spans)):
            raise SettingInvalid(
                name, f"the hours of {day} overlap or end before they begin.", f"{day} 的时段重叠或先后颠倒。"
            )


def check_quiet_hours(name: str, span: str) -> None:
    if span and len(set(span.split("-"))) == 1:
        raise SettingInvalid(name, "they begin when they end.", "开始与结束时间相同。")


CHECKS: dict[str, Callable[[str, Any], None]] = {
    "work_hours": check_work_hours,
    "quiet_hours": check_quiet_hours,
}
"""What the types cannot say. Each raises SettingInvalid."""


def stored(changes: Body) -> dict[str, Any]:
    """What was given of the settings, as it is kept. Raises SettingInvalid."""
    for name, check in CHECKS.items():
        if (value := getattr(changes, name)) is not None:
            check(name, value)
    return changes.model_dump(mode="json", include=changes.model_fields_set)


def merge_settings(defaults: Mapping[str, Any], overrides: Mapping[str, Any]) -> SettingsOut:
    """The community's value, else the company's, else ours. Names that are no setting, and values that a setting cannot
    have (an older version let them in), are left out.
    """
    return SettingsOut(settings={name: merge_setting(name, defaults, overrides) for name in BUILT_IN})


def merge_setting(name: str, defaults: Mapping[str, Any], overrides: Mapping[str, Any]) -> SettingOut:
    """As `merge_settings`, one of them."""
    if name in overrides and _fits(name, overrides[name]):
        return SettingOut(value=overrides[name], source="community")
    if name in defaults and _fits(name, defaults[name]):
        return SettingOut(value=defaults[name], source="organisation")
    return SettingOut(value=BUILT_IN[name], source="built_in")


def _fits(name: str, value: Any) -> bool:
    try:
        ADAPTERS[name].validate_python(value)
    except ValidationError:
        log.warning("setting_ignored", setting=name)
        return False
    return True


def typed(merged: SettingsOut) -> CommunitySettings:
    return CommunitySettings.model_validate({name: one.value for name, one in merged.settings.items()})

"""What incidents are refused for."""

from collections.abc import Mapping, Sequence
from typing import Any

from app.errors import Conflict, Invalid, NotFound
from app.service_desk.incident_tables import INCIDENT_MOVES, IncidentStatus


class IncidentNotFound(NotFound):
    code = "incident_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such incident.", "没有这个突发事件。")


class IncidentMoveNotAllowed(Conflict):
    code = "incident_move_not_allowed"

    def __init__(self, current: IncidentStatus, wanted: IncidentStatus) -> None:
        super().__init__(
            f"This incident cannot go from {current} to {wanted}.", f"该事件当前状态（{current}）不能改为 {wanted}。",
            current=current, wanted=wanted, allowed=sorted(INCIDENT_MOVES[current]),
        )  # fmt: skip


class IncidentOver(Conflict):
    code = "incident_over"

    def __init__(self) -> None:
        super().__init__("This incident is over.", "该事件已经结束。")


class IncidentKnown(Conflict):
    """Nothing was opened yet. `facts` are what /me/workorders/matches says: incidents to follow, and like orders."""

    code = "incident_known"

    def __init__(self, offers: Sequence[Mapping[str, str]], known: Mapping[str, Any]) -> None:
        en, zh = (" ".join(offer[language] for offer in offers) for language in ("en", "zh"))
        super().__init__(
            f"{en} Follow it, or report all the same with open_anyway.",
            f"{zh}您可以关注，也可以带上 open_anyway 照常报修。", **known,
        )  # fmt: skip


class IncidentFollowed(Conflict):
    code = "incident_followed"

    def __init__(self) -> None:
        super().__init__(
            "Residents follow this incident. Close or dismiss it, so that they are told.",
            "已有住户关注该事件，请结束或排除它，以便通知他们。",
        )


class EndBeforeBeginning(Invalid):
    code = "incident_end_before_beginning"

    def __init__(self) -> None:
        super().__init__("It cannot end before it begins.", "结束时间不能早于开始时间。")

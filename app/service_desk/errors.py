"""What work orders are refused for."""

from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from app.errors import Conflict, Invalid, NotFound, RateLimited
from app.service_desk.tables import Status


class WorkOrderNotFound(NotFound):
    code = "work_order_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such work order.", "没有这个工单。")


class CategoryNotFound(NotFound):
    code = "work_order_category_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such category of work orders.", "没有这个工单类别。")


class TextEmpty(Invalid):
    code = "work_order_text_empty"

    def __init__(self) -> None:
        super().__init__("Say what it is about.", "请说明情况。")


class MoveNotAllowed(Conflict):
    """`allowed` are the statuses to which this caller may bring the order now."""

    code = "work_order_move_not_allowed"

    def __init__(self, current: Status, wanted: Status, allowed: Sequence[Status]) -> None:
        super().__init__(
            f"This work order cannot go from {current} to {wanted}.", f"工单当前状态（{current}）不能改为 {wanted}。",
            current=current, wanted=wanted, allowed=list(allowed),
        )  # fmt: skip


class AlreadyTaken(Conflict):
    """Somebody else was first."""

    code = "work_order_taken"

    def __init__(self, staff_id: UUID, name: str, since: datetime | None) -> None:
        super().__init__(
            f"{name} has taken this work order.", f"{name} 已接下这个工单。",
            assignee_id=str(staff_id), assignee_name=name, since=since.isoformat() if since else None,
        )  # fmt: skip


class NotForThem(Conflict):
    code = "work_order_assignee_not_suitable"

    def __init__(self) -> None:
        super().__init__("This work order cannot be given to this person.", "该工单不能派给这位员工。")


class AssigneeMissing(Invalid):
    code = "work_order_assignee_missing"

    def __init__(self) -> None:
        super().__init__("Say who is to have the work order.", "请指定接单员工。")


class QuoteMissing(Invalid):
    code = "work_order_quote_missing"

    def __init__(self) -> None:
        super().__init__("Say how much it will cost.", "请填写报价金额。")


class ReopenWindowOver(Conflict):
    code = "work_order_reopen_window_over"

    def __init__(self, days: int) -> None:
        super().__init__(
            f"A work order can be reopened within {days} days. Open a new one.",
            f"工单完成超过 {days} 天不能重开，请新建工单。", days=days,
        )  # fmt: skip


class TooManyOrders(RateLimited):
    code = "too_many_work_orders"

    def __init__(self, orders_max: int, *, retry_after_seconds: float) -> None:
        super().__init__(
            f"You have opened {orders_max} work orders within a day. In an emergency call the service phone.",
            f"您 24 小时内已提交 {orders_max} 个工单，紧急情况请致电服务电话。",
            retry_after_seconds=retry_after_seconds, orders_max=orders_max,
        )  # fmt: skip


class UrgedTooSoon(RateLimited):
    code = "work_order_urged_too_soon"

    def __init__(self, *, retry_after_seconds: float) -> None:
        super().__init__(
            "You have urged this work order just now. It was passed on.", "刚刚已为您催过单，请稍后再催。",
            retry_after_seconds=retry_after_seconds,
        )  # fmt: skip


class WindowInvalid(Invalid):
    code = "time_window_invalid"

    def __init__(self) -> None:
        super().__init__("The time window must end after it begins.", "时间段的结束必须晚于开始。")


class CommentHidden(Invalid):
    code = "comment_visibility_not_allowed"

    def __init__(self) -> None:
        super().__init__("Residents' comments and files are seen by both sides.", "住户的留言和附件双方可见。")


class CategoryExists(Conflict):
    code = "work_order_category_exists"

    def __init__(self, code: str) -> None:
        super().__init__(f"There is a category {code} already.", f"类别代码 {code} 已存在。", category_code=code)


class CategoryLoop(Conflict):
    code = "work_order_category_loop"

    def __init__(self) -> None:
        super().__init__("A category cannot stand below itself.", "类别不能放在自己之下。")

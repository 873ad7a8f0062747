"""What campaigns and their rules are refused for."""

from collections.abc import Sequence
from dataclasses import asdict

from app.errors import Conflict, Invalid, NotFound
from app.recommend.campaign_copy import CopyProblem
from app.recommend.campaign_tables import CAMPAIGN_MOVES, CampaignStatus


class CampaignNotFound(NotFound):
    code = "campaign_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such campaign.", "没有这个活动推广。")


class CampaignRuleNotFound(NotFound):
    code = "campaign_rule_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such rule.", "没有这条推广规则。")


class CapIncomplete(Invalid):
    code = "campaign_cap_incomplete"

    def __init__(self) -> None:
        super().__init__("cap_messages and cap_days go together.", "cap_messages 与 cap_days 需同时填写或同时留空。")


class LabelsRepeated(Invalid):
    code = "campaign_labels_repeated"

    def __init__(self) -> None:
        super().__init__("Two variants have one label.", "文案版本的标签重复。")


class CampaignMoveNotAllowed(Conflict):
    code = "campaign_move_not_allowed"

    def __init__(self, current: CampaignStatus, wanted: CampaignStatus) -> None:
        super().__init__(
            f"This campaign cannot go from {current} to {wanted}.", f"当前状态（{current}）不能改为 {wanted}。",
            current=current, wanted=wanted, allowed=sorted(CAMPAIGN_MOVES[current]),
        )  # fmt: skip


class CampaignNotEditable(Conflict):
    code = "campaign_not_editable"

    def __init__(self, current: CampaignStatus) -> None:
        super().__init__(
            "A campaign can be changed as a draft, or while it is paused before anybody was told.",
            "只有草稿，或尚未发送即暂停的推广可以修改。", current=current,
        )  # fmt: skip


class CampaignUnderWay(Conflict):
    code = "campaign_under_way"

    def __init__(self, current: CampaignStatus) -> None:
        super().__init__(
            "Residents were told or are being told: cancel it instead of deleting it.",
            "已通知或正在通知住户，请取消而不是删除。", current=current,
        )  # fmt: skip


class TooManyCampaigns(Conflict):
    code = "too_many_campaigns"

    def __init__(self, most: int) -> None:
        super().__init__(f"{most} are unfinished already.", f"未完成的已达 {most} 个。", most=most)


class CopyRefused(Conflict):
    """`facts["problems"]`: every problem, by variant and text, with what was said."""

    code = "campaign_copy_refused"

    def __init__(self, problems: Sequence[tuple[str, CopyProblem]]) -> None:
        super().__init__(
            "The copy cannot be approved as it stands.", "文案存在问题，不能批准。",
            problems=[{"variant": label, **asdict(problem)} for label, problem in problems],
        )  # fmt: skip


class CopyNotApproved(Conflict):
    code = "campaign_copy_not_approved"

    def __init__(self, labels: Sequence[str]) -> None:
        super().__init__(
            f"The copy of {', '.join(labels)} is not approved.", f"文案 {'、'.join(labels)} 尚未批准。",
            variants=list(labels),
        )  # fmt: skip


class CopyIsAPersons(Conflict):
    code = "campaign_copy_written_by_person"

    def __init__(self, label: str) -> None:
        super().__init__(
            "A person wrote this copy. Send replace: true to draft it anew.",
            "该文案由员工撰写。如需重新起草，请带上 replace: true。", variant=label,
        )  # fmt: skip


class VariantUnknown(NotFound):
    code = "campaign_variant_not_found"

    def __init__(self, label: str) -> None:
        super().__init__(f"This campaign has no variant {label}.", f"没有文案版本 {label}。", variant=label)


class PersonMustApprove(Conflict):
    code = "campaign_person_must_approve"

    def __init__(self) -> None:
        super().__init__(
            "Only a signed-in member of staff can approve copy, a key cannot.", "只有登录的员工可以批准文案。"
        )


class CampaignForNobody(Conflict):
    code = "campaign_for_nobody"

    def __init__(self) -> None:
        super().__init__(
            "Nobody would be told: no resident fits the filter and may be sent to. Look at /preview.",
            "没有可通知的住户：筛选条件下无人可发送，请查看 /preview。",
        )


class ItemsMissing(Conflict):
    code = "campaign_items_missing"

    def __init__(self) -> None:
        super().__init__("Say which items it is about.", "请指明推广的项目。")


class ItemNotAvailable(Conflict):
    code = "campaign_item_not_available"

    def __init__(self, title: str) -> None:
        super().__init__(
            f"“{title}” is over, full or switched off.", f"“{title}”已结束、满员或停用。", title=title
        )  # fmt: skip


class ScheduleInThePast(Invalid):
    code = "campaign_schedule_past"

    def __init__(self) -> None:
        super().__init__("This time is over already.", "该时间已经过去。")


class NoSuchLocalTime(Invalid):
    code = "campaign_schedule_no_such_time"

    def __init__(self) -> None:
        super().__init__("The clocks of the community skip this time.", "该社区当地没有这一时刻（夏令时调整）。")


class TriggeredByRules(Conflict):
    code = "campaign_triggered_by_rules"

    def __init__(self) -> None:
        super().__init__(
            "A triggered campaign has no schedule: POST /send lets its rules start it.",
            "触发式推广没有排期：发送后由规则触发。",
        )


class RuleNeedsTriggered(Conflict):
    code = "campaign_rule_needs_triggered"

    def __init__(self) -> None:
        super().__init__("A rule starts a triggered campaign only.", "规则只能触发“触发式”推广。")


class RuleIncomplete(Invalid):
    code = "campaign_rule_incomplete"

    def __init__(self) -> None:
        super().__init__("A rule about added items needs their category.", "“新增项目”规则需要填写类别。")


class UnsubscribeLinkInvalid(NotFound):
    code = "unsubscribe_link_invalid"

    def __init__(self) -> None:
        super().__init__("This link is wrong.", "链接无效。")

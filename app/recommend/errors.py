"""What can go wrong with items, feedback and rankers, and is told to whoever asked."""

from uuid import UUID

from app.errors import Conflict, Invalid, NotFound


class ItemNotFound(NotFound):
    code = "item_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such item.", "没有这个项目。")


class ItemTimesInvalid(Invalid):
    code = "item_times_invalid"

    def __init__(self) -> None:
        super().__init__("It ends before it begins.", "结束时间早于开始时间。")


class ExternalIdTaken(Conflict):
    code = "external_id_taken"

    def __init__(self, external_id: str) -> None:
        super().__init__(
            "Another item has this external id.", "已有项目使用该外部编号。", external_id=external_id
        )  # fmt: skip


class ItemFull(Conflict):
    code = "item_full"

    def __init__(self, item_id: UUID, capacity: int | None) -> None:
        super().__init__("There is no place left.", "名额已满。", item_id=str(item_id), capacity=capacity)


class ItemOver(Conflict):
    code = "item_over"

    def __init__(self, item_id: UUID) -> None:
        super().__init__("It is over, or no longer offered.", "该项目已结束或已下架。", item_id=str(item_id))


class FeedbackInFuture(Invalid):
    code = "feedback_in_future"

    def __init__(self) -> None:
        super().__init__("This has not happened yet: its time lies ahead.", "发生时间晚于当前时间。")


class FeedbackNotFound(NotFound):
    code = "feedback_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such feedback.", "没有这条反馈。")


class RecommendationNotFound(NotFound):
    code = "recommendation_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such list of recommendations.", "没有这份推荐。")


class RankerNotFound(NotFound):
    code = "ranker_version_not_found"

    def __init__(self) -> None:
        super().__init__("There is no such version of the ranker.", "没有这个排序模型版本。")


class RankerNotUsable(Conflict):
    code = "ranker_version_not_usable"

    def __init__(self, status: str) -> None:
        super().__init__(
            "This version cannot go live: it was not trained to the end, or its file is gone or damaged.",
            "该版本无法上线：训练未完成，或文件丢失、损坏。", status=status,
        )  # fmt: skip


class NothingToRollBackTo(Conflict):
    code = "ranker_no_earlier_version"

    def __init__(self) -> None:
        super().__init__("No version was live before this one.", "此前没有上线过的版本。")


class TrainingUnderWay(Conflict):
    code = "ranker_training_under_way"

    def __init__(self, version_id: UUID) -> None:
        super().__init__("A ranker is being trained already.", "排序模型正在训练中。", version_id=str(version_id))

"""The failures of the world, each with a status, a stable code and words in both languages.

Feature code raises subclasses kept beside it; `app/problems.py` renders every one as an RFC 9457 problem.
"""

from typing import Any, ClassVar


class AppError(Exception):
    """A failure a caller can be told about. `facts` are shown to the caller, so they never hold secrets."""

    status: ClassVar[int] = 500
    code: ClassVar[str] = "internal_error"

    def __init__(self, message_en: str, message_zh: str, **facts: Any) -> None:
        super().__init__(message_en)
        self.message_en = message_en
        self.message_zh = message_zh
        self.facts = facts


class Invalid(AppError):
    status, code = 422, "invalid"


class Unauthorised(AppError):
    status, code = 401, "unauthorised"


class Forbidden(AppError):
    status, code = 403, "forbidden"


class NotFound(AppError):
    """Also the answer for rows that belong to others: their existence is not ours to tell."""

    status, code = 404, "not_found"


class Conflict(AppError):
    status, code = 409, "conflict"


class TooLarge(AppError):
    status, code = 413, "too_large"


class RetryLater(AppError):
    """Refused now, welcome later: answered with `Retry-After`."""

    def __init__(self, message_en: str, message_zh: str, *, retry_after_seconds: float, **facts: Any) -> None:
        super().__init__(message_en, message_zh, **facts)
        self.retry_after_seconds = retry_after_seconds


class RateLimited(RetryLater):
    status, code = 429, "rate_limited"


class Unavailable(RetryLater):
    status, code = 503, "unavailable"

"""`ETag` and `If-Match`: a change is made to the version its author saw, or refused."""

from hashlib import sha256
from typing import Annotated

from fastapi import Header
from pydantic import BaseModel

from app.errors import AppError


class VersionMissing(AppError):
    status, code = 428, "if_match_missing"

    def __init__(self) -> None:
        super().__init__(
            "Send If-Match with the ETag of the version you read.", "请在 If-Match 中带上所读版本的 ETag。"
        )


class VersionChanged(AppError):
    status, code = 412, "version_changed"

    def __init__(self, etag: str) -> None:
        super().__init__(
            "It was changed by somebody else. Read it again.", "内容已被他人修改，请重新读取后再改。", etag=etag
        )


def etag_of(seen: BaseModel) -> str:
    """The strong tag of one representation: rows without a version column are told apart by what they show."""
    return f'"{sha256(seen.model_dump_json().encode()).hexdigest()[:32]}"'


class IfMatch:
    """The versions a caller is ready to change; `check` raises VersionChanged for any other."""

    def __init__(self, tags: frozenset[str]) -> None:
        self._tags = tags

    def check(self, current: str) -> None:
        if "*" not in self._tags and current not in self._tags:
            raise VersionChanged(current)


def if_match_of(
    if_match: Annotated[
        str | None, Header(max_length=500, description="ETag of the version you read; `*` for any.")
    ] = None,
) -> IfMatch:
    """Raises VersionMissing."""
    if if_match is None:
        raise VersionMissing
    # Proxies that compress mark a tag as weak; the version behind it is the same.
    return IfMatch(frozenset(tag.strip().removeprefix("W/") for tag in if_match.split(",")))

"""Where the bytes of photos, documents and rankers lie: a folder of `data_dir`, or what `files_url` names (S3, …).

Keys are made of ids and hashes alone, so nobody's file name becomes a path.
"""

from functools import lru_cache
from pathlib import Path

import obstore
import structlog
from obstore.exceptions import BaseError, NotFoundError
from obstore.store import LocalStore, ObjectStore, from_url

from app.errors import NotFound, Unavailable
from app.settings import Settings

log = structlog.get_logger(__name__)


class StorageAway(Unavailable):
    code = "file_storage_unavailable"

    def __init__(self) -> None:
        super().__init__(
            "Files cannot be kept or read just now. Try again shortly.", "文件存储暂时不可用，请稍后再试。",
            retry_after_seconds=5,
        )  # fmt: skip


class FileGone(NotFound):
    code = "file_gone"

    def __init__(self) -> None:
        super().__init__("This file is no longer in the storage.", "文件已不在存储中。")


async def put(settings: Settings, key: str, data: bytes) -> None:
    """Keep the bytes under this key; the same key holds the same bytes. Raises StorageAway."""
    try:
        await obstore.put_async(_store(settings.files_url, settings.data_dir), key, data)
    except BaseError as error:
        log.error("file_not_kept", key=key, error=type(error).__name__)
        raise StorageAway from error


async def get(settings: Settings, key: str) -> bytes:
    """Raises: FileGone, StorageAway."""
    try:
        found = await obstore.get_async(_store(settings.files_url, settings.data_dir), key)
        return bytes(await found.bytes_async())
    except (NotFoundError, FileNotFoundError) as error:
        log.error("file_gone", key=key)
        raise FileGone from error
    except BaseError as error:
        log.error("file_not_read", key=key, error=type(error).__name__)
        raise StorageAway from error


async def has(settings: Settings, key: str) -> bool:
    """Whether bytes lie under this key. Raises StorageAway."""
    try:
        await obstore.head_async(_store(settings.files_url, settings.data_dir), key)
    except (NotFoundError, FileNotFoundError):
        return False
    except BaseError as error:
        log.error("file_not_found_out", key=key, error=type(error).__name__)
        raise StorageAway from error
    return True


async def delete(settings: Settings, key: str) -> None:
    """The bytes under this key are no more; there may have been none. Raises StorageAway."""
    try:
        await obstore.delete_async(_store(settings.files_url, settings.data_dir), key)
    except (NotFoundError, FileNotFoundError):
        return
    except BaseError as error:
        log.error("file_not_deleted", key=key, error=type(error).__name__)
        raise StorageAway from error


@lru_cache(maxsize=8)
def _store(url: str, data_dir: Path) -> ObjectStore:
    """One for the process: it keeps its connections. Credentials come from the environment (AWS_…)."""
    if url:
        return from_url(url, client_options={"timeout": "20s", "connect_timeout": "3s"})
    folder = data_dir.resolve() / "files"
    folder.mkdir(parents=True, exist_ok=True)
    return LocalStore(prefix=folder)

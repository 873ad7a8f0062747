"""The data folder of one Linli: whoever works on it holds it, so that two never do."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from app.children import StartFailed


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold the data folder. The kernel lets go when we end, however we end. Raises StartFailed when it is held."""
    with (folder / "linli.lock").open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            raise StartFailed(
                f"Linli already runs over {folder} (process {file.read().strip() or 'unknown'}). "
                "Stop that one first, or set LINLI_DATA_DIR to another folder.",
                f"Linli 已在 {folder} 上运行。请先停止,或将 LINLI_DATA_DIR 设为其他目录。",
            ) from None
        file.truncate(0)
        file.write(str(os.getpid()))
        file.flush()
        yield


def is_held(folder: Path) -> bool:
    """Whether a Linli works on the folder right now."""
    try:
        with held(folder):
            return False
    except FileNotFoundError:
        return False
    except StartFailed:
        return True

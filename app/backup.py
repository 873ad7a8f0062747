"""`linli backup` and `linli restore`: the embedded Postgres into one file, and that file into an empty data folder.

Everything worth keeping is in Postgres, uploaded files too. Valkey is rebuilt from the rows; sign-ins hold on, since
their refresh tokens are rows. A database named by LINLI_DATABASE_URL is backed up by whoever runs it (README.md).
"""

import os
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from app import embedded
from app.data_folder import held, is_held
from app.errors import AppError
from app.settings import Settings

DATABASE = "linli"


class BackupFailed(AppError):
    """Nothing was written, or nothing was read in; the words say why."""

    status, code = 503, "backup_failed"


def back_up(settings: Settings, file: Path) -> int:
    """Write all rows to `file`, also while Linli runs; the bytes written. A file that exists is replaced when it is
    whole. Raises BackupFailed, StartFailed.
    """
    folder = settings.data_dir.resolve()
    if settings.database_url and settings.database_url != embedded.urls(folder).database_url:
        raise BackupFailed(
            "LINLI_DATABASE_URL names a Postgres of your own. Back it up with pg_dump as a superuser: the roles of "
            "Linli do not see every row.",
            "LINLI_DATABASE_URL 指向您自己的 Postgres。请以超级用户运行 pg_dump 备份:Linli 的角色看不到所有数据行。",
        )
    if not (folder / "postgres" / "PG_VERSION").exists():
        raise BackupFailed(f"There is no database of Linli in {folder}.", f"{folder} 中没有 Linli 的数据库。")
    if is_held(folder):
        return dump(embedded.urls(folder).database_superuser_url, file)
    with held(folder), _started(folder) as url:
        return dump(url, file)


def restore(settings: Settings, file: Path) -> None:
    """Make a new database in the data folder and fill it from `file`. Raises BackupFailed, StartFailed.

    All or nothing: after a failure the folder is as empty as before.
    """
    folder = settings.data_dir.resolve()
    cluster = folder / "postgres"
    if cluster.exists():
        raise BackupFailed(
            f"{cluster} is there already. Move it away, or set LINLI_DATA_DIR to an empty folder.",
            f"{cluster} 已存在。请将其移走,或将 LINLI_DATA_DIR 设为空目录。",
        )
    _run("pg_restore", ["--list", str(file)], url=None)
    folder.mkdir(parents=True, exist_ok=True)
    with held(folder):
        try:
            with _started(folder) as url:
                load(url, file)
        except BaseException:
            shutil.rmtree(cluster, ignore_errors=True)
            raise
        # What came back is somebody's community: the practice one is not put beside it.
        (folder / "seeded").touch()


@contextmanager
def _started(folder: Path) -> Iterator[str]:
    """The superuser's address of the folder's Postgres, which runs while the block runs."""
    database = embedded.postgres(folder)
    try:
        embedded.start([database])
        yield embedded.urls(folder).database_superuser_url
    finally:
        embedded.stop(database)


def dump(url: str, file: Path) -> int:
    """One consistent view of all rows, by the superuser: row-level security would hide the passages of every
    community from anybody else, and hide them silently.
    """
    new = file.with_name(f"{file.name}.unfinished")
    try:
        # It holds what residents asked: nobody else on this machine may read it.
        os.close(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600))
        _run("pg_dump", ["--format=custom", f"--dbname={DATABASE}", f"--file={new}"], url=url)
        _run("pg_restore", ["--list", str(new)], url=None)
        with new.open("rb") as written:
            os.fsync(written.fileno())
        new.replace(file)
    except OSError as error:
        raise BackupFailed(f"{file} cannot be written: {error}", f"无法写入 {file}:{error}") from error
    finally:
        new.unlink(missing_ok=True)
    return file.stat().st_size


def load(url: str, file: Path) -> None:
    """Read a dump into a new cluster, whose roles and empty database are there already."""
    options = ["--exit-on-error", "--single-transaction", f"--dbname={DATABASE}", str(file)]
    _run("pg_restore", options, url=url)
    # The planner knows nothing of rows that were just loaded.
    _run("vacuumdb", ["--analyze-only", "--quiet", f"--dbname={DATABASE}"], url=url)


def _run(program: str, options: Sequence[str], *, url: str | None) -> None:
    """Run a program of Postgres, as superuser of the server at that address if one is given. Raises BackupFailed."""
    command = [str(embedded.postgres_programs() / program)]
    environment = dict(os.environ)
    if url is not None:
        address = urlsplit(url)
        command += [f"--host={address.hostname}", f"--port={address.port}", f"--username={address.username}", "-w"]
        # Not on the command line, which every user can read.
        environment["PGPASSWORD"] = address.password or ""
    done = subprocess.run(  # noqa: S603
        [*command, *options], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, check=False,
    )  # fmt: skip
    if done.returncode:
        words = "\n".join(done.stdout.decode(errors="replace").strip().splitlines()[-6:])
        raise BackupFailed(f"{program} failed.\n{words}", f"{program} 失败。\n{words}")

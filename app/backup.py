"""`linli backup` and `linli restore`: the embedded Postgres and the files in one archive, and back to an empty folder.

Rows and documents are in Postgres, photos of work orders in the folder `files`. Valkey is rebuilt from the rows; who is
signed in stays so, since refresh tokens are rows. The key that seals the secrets of webhooks stays out: whoever finds a
backup cannot speak for the house. A database named by LINLI_DATABASE_URL and a storage named by LINLI_FILES_URL are
backed up by whoever runs them (README.md).
"""

import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit

from app import embedded
from app.data_folder import held, is_held
from app.errors import AppError
from app.settings import Settings

DATABASE = "linli"
ROWS, FILES = "linli.dump", "files"
"""What an archive holds. One without files may be the dump alone, as older versions wrote it."""


class BackupFailed(AppError):
    """Nothing was written, or nothing was read in; the words say why."""

    status, code = 503, "backup_failed"


def back_up(settings: Settings, file: Path) -> int:
    """Write all rows and files to `file`, also while Linli runs; the bytes written. A file that exists is replaced when
    the new one is whole. Raises BackupFailed, StartFailed.
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
        return _pack(embedded.urls(folder).database_superuser_url, folder / FILES, file)
    with held(folder), _started(folder) as url:
        return _pack(url, folder / FILES, file)


def restore(settings: Settings, file: Path) -> None:
    """Make a new database in the data folder and fill it from `file`. Raises BackupFailed, StartFailed.

    All or nothing: after a failure the folder is as empty as before.
    """
    folder = settings.data_dir.resolve()
    made = [folder / "postgres", folder / FILES]
    for one in made:
        if one.exists():
            raise BackupFailed(
                f"{one} is there already. Move it away, or set LINLI_DATA_DIR to an empty folder.",
                f"{one} 已存在。请将其移走,或将 LINLI_DATA_DIR 设为空目录。",
            )
    folder.mkdir(parents=True, exist_ok=True)
    rows = folder / ROWS
    with held(folder):
        try:
            _unpack(file, rows, folder)
            _run("pg_restore", ["--list", str(rows)], url=None)
            with _started(folder) as url:
                load(url, rows)
        except BaseException:
            for one in made:
                shutil.rmtree(one, ignore_errors=True)
            raise
        finally:
            rows.unlink(missing_ok=True)
        # What came back is somebody's community: the practice one is not put beside it.
        (folder / "seeded").touch()


def _pack(url: str, files: Path, file: Path) -> int:
    """Rows first: a file is kept before the row that names it, so none that a row names is missed."""
    new, rows = file.with_name(f"{file.name}.unfinished"), file.with_name(f"{file.name}.rows")
    try:
        dump(url, rows)
        with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as written:
            with tarfile.open(fileobj=written, mode="w") as archive:
                archive.add(rows, ROWS)
                for one in sorted(path for path in files.rglob("*") if path.is_file()):
                    # A file that is just being written goes by another name until it is whole.
                    with suppress(FileNotFoundError):
                        archive.add(one, str(PurePosixPath(FILES, one.relative_to(files).as_posix())))
            written.flush()
            os.fsync(written.fileno())
        new.replace(file)
    except OSError as error:
        raise BackupFailed(f"{file} cannot be written: {error}", f"无法写入 {file}:{error}") from error
    finally:
        new.unlink(missing_ok=True)
        rows.unlink(missing_ok=True)
    return file.stat().st_size


def _unpack(file: Path, rows: Path, folder: Path) -> None:
    """The dump to `rows`, the files below `folder`; nothing else is taken out. Raises BackupFailed."""
    try:
        if not tarfile.is_tarfile(file):
            shutil.copyfile(file, rows)
            return
        with tarfile.open(file) as archive:
            for member in archive:
                parts = PurePosixPath(member.name).parts
                source = archive.extractfile(member) if member.isreg() else None
                if source is None or ".." in parts or parts[0] not in (ROWS, FILES):
                    continue
                target = rows if parts == (ROWS,) else folder.joinpath(*parts)
                target.parent.mkdir(parents=True, exist_ok=True)
                with target.open("wb") as written:
                    shutil.copyfileobj(source, written)
    except (OSError, tarfile.TarError) as error:
        raise BackupFailed(f"{file} cannot be read: {error}", f"无法读取 {file}:{error}") from error


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

"""Postgres and Valkey that come with Linli: made, started, stopped, found again."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pytest
import redis.asyncio

from app import embedded
from app.children import Child, StartFailed, wait_until_ready

ROOT = Path(__file__).parents[2]


@pytest.fixture
def data_dir() -> Iterator[Path]:
    # Not pytest's own folder: that one is closed to other users, and one test runs as another user.
    with tempfile.TemporaryDirectory(prefix="linli-test-") as folder:
        yield Path(folder) / "var"


async def fetch(url: str, query: str):
    connection = await asyncpg.connect(url.replace("+asyncpg", ""))
    try:
        return await connection.fetchval(query)
    finally:
        await connection.close()


async def test_both_start_and_the_next_start_finds_the_rows_again(data_dir):
    with embedded.services(data_dir) as services:
        await fetch(services.database_owner_url, "CREATE TABLE kept (n int)")
        await fetch(services.database_owner_url, "INSERT INTO kept VALUES (7)")
        first = services
        async with redis.asyncio.from_url(services.redis_url) as client:
            await client.set("kept", "7")
    with embedded.services(data_dir) as services:
        assert services == first, "addresses stay the same from start to start"
        assert await fetch(services.database_owner_url, "SELECT n FROM kept") == 7
        assert await fetch(services.database_owner_url, "SHOW fsync") == "on"
        async with redis.asyncio.from_url(services.redis_url) as client:
            assert await client.get("kept") == b"7"


async def test_the_roles_can_do_no_more_than_they_should(data_dir):
    with embedded.services(data_dir, durable=False) as services:
        rights = "SELECT rolsuper OR rolbypassrls OR rolcreaterole FROM pg_roles WHERE rolname = current_user"
        for url in (services.database_url, services.database_owner_url):
            assert await fetch(url, rights) is False
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await fetch(services.database_url, "CREATE TABLE mine (n int)")
        assert await fetch(services.database_url, "SELECT '[1,2]'::vector <-> '[1,4]'::vector") == 2
        with pytest.raises(asyncpg.InvalidPasswordError):
            await fetch(services.database_url.replace("linli_app:", "linli_app:x"), "SELECT 1")
        async with redis.asyncio.from_url(services.redis_url.replace("redis://:", "redis://:x")) as client:
            with pytest.raises(redis.asyncio.AuthenticationError):
                await client.ping()


async def test_passwords_are_readable_by_the_owner_alone(data_dir):
    with embedded.services(data_dir, durable=False):
        for name in ("passwords.json", "ports.json", "valkey/valkey.conf"):
            assert stat.S_IMODE((data_dir / name).stat().st_mode) == 0o600
        assert stat.S_IMODE((data_dir / "postgres").stat().st_mode) == 0o700


async def test_stale_pid_files_do_not_stop_the_next_start(data_dir):
    with embedded.services(data_dir, durable=False):
        stale = (data_dir / "postgres" / "postmaster.pid").read_text()
    # The number in the file belongs to somebody else now, as after a reboot.
    (data_dir / "postgres" / "postmaster.pid").write_text(stale.replace(stale.split()[0], str(os.getppid()), 1))
    (data_dir / "valkey" / "valkey.pid").write_text(f"{os.getppid()}\n")
    with embedded.services(data_dir, durable=False) as services:
        assert await fetch(services.database_url, "SELECT 1") == 1


async def test_servers_left_over_the_same_data_are_ended_first(data_dir):
    left_over = [embedded.postgres(data_dir, durable=False), embedded.valkey(data_dir, durable=False)]
    embedded.start(left_over)
    with embedded.services(data_dir, durable=False) as services:
        assert await fetch(services.database_url, "SELECT 1") == 1
        assert [part.exit_code() is not None for part in left_over] == [True, True]


async def test_a_half_made_cluster_is_made_anew(data_dir):
    (data_dir / "postgres.unfinished" / "base").mkdir(parents=True)
    with embedded.services(data_dir, durable=False) as services:
        assert await fetch(services.database_url, "SELECT 1") == 1


def test_a_cluster_of_another_version_is_refused_in_words(data_dir):
    embedded.postgres(data_dir, durable=False)
    (data_dir / "postgres" / "PG_VERSION").write_text("9\n")
    with pytest.raises(StartFailed, match="made by Postgres 9"):
        embedded.postgres(data_dir, durable=False)


SCRIPT = """
import sys, time
from pathlib import Path
from app import embedded
with embedded.services(Path(sys.argv[1]), durable=False):
    print("ready", flush=True)
    time.sleep(600)
"""


def start_in_another_process(data_dir: Path, *prefix: str) -> subprocess.Popen[str]:
    command = [*prefix, sys.executable, "-c", SCRIPT, str(data_dir)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


def server_pids(data_dir: Path) -> list[int]:
    files = (data_dir / "postgres" / "postmaster.pid", data_dir / "valkey" / "valkey.pid")
    return [int(file.read_text().split()[0]) for file in files]


def runs_as(pid: int) -> int:
    return Path(f"/proc/{pid}").stat().st_uid


def wait_until_gone(pids: list[int], *, seconds: float = 10) -> None:
    deadline = time.monotonic() + seconds
    while any(Path(f"/proc/{pid}").exists() for pid in pids):
        assert time.monotonic() < deadline, "still there"
        time.sleep(0.05)


def test_both_end_when_whoever_started_them_is_killed(data_dir):
    process = start_in_another_process(data_dir)
    pids = server_pids(data_dir)
    assert all(Path(f"/proc/{pid}").exists() for pid in pids)
    end(process)
    wait_until_gone(pids)
    with embedded.services(data_dir, durable=False):
        pass


@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("setpriv"), reason="needs root to become somebody else")
def test_a_normal_user_can_run_them(data_dir):
    data_dir.mkdir()
    os.chown(data_dir, 65534, 65534)
    data_dir.parent.chmod(0o711)
    reach = ["--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"]
    # The interpreter may lie in root's home; only reading is allowed beyond what the user has.
    process = start_in_another_process(
        data_dir, "setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *reach, "--"
    )
    try:
        assert (data_dir / "postgres").stat().st_uid == 65534
    finally:
        pids = server_pids(data_dir)
        end(process)
        wait_until_gone(pids)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root has to become somebody else")
async def test_root_runs_postgres_as_somebody_else_even_behind_a_closed_door(data_dir):
    data_dir.parent.chmod(0o700)
    with embedded.services(data_dir, durable=False) as services:
        assert await fetch(services.database_url, "SELECT 1") == 1
        pid = server_pids(data_dir)[0]
        assert runs_as(pid) != 0
    assert stat.S_IMODE(data_dir.parent.stat().st_mode) == 0o700, "the door was not opened"


FAMILY = "setsid sleep 300 & sleep 300 & trap '' TERM; echo $$ > pid; while :; do sleep 1; done"


def test_a_guarded_command_leaves_no_grandchild_behind_even_when_it_ignores_the_signal(tmp_path):
    child = Child("family", ["sh", "-c", FAMILY], tmp_path / "log", folder=tmp_path, guard_seconds=0.3)
    child.is_ready = (tmp_path / "pid").exists
    child.start()
    wait_until_ready([child], seconds=10)
    guard = child.pid
    assert guard is not None
    time.sleep(0.2)
    family = descendants(guard)
    assert len(family) >= 3
    child.ask_to_stop()
    assert child.process is not None
    child.process.wait(10)
    wait_until_gone(family)


def descendants(pid: int) -> list[int]:
    direct = [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
    return direct + [below for child in direct for below in descendants(child)]


def test_a_part_that_ends_at_once_is_named_with_its_last_words(tmp_path):
    child = Child("printer", ["sh", "-c", "echo out of paper; exit 3"], tmp_path / "log", lambda: False)
    child.start()
    with pytest.raises(StartFailed, match=r"(?s)printer ended with status 3.*out of paper"):
        wait_until_ready([child], seconds=10)
    child.send(signal.SIGTERM)

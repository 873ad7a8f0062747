"""A community, backed up and brought back on another machine: not a row differs, and nobody sees more than before."""

import asyncio
import io
import os
import subprocess
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
from sqlalchemy import text

from app import embedded, migrate
from app.data_folder import held
from app.runtime import Runtime
from tests.conftest import open_test_runtime
from tests.make import Make

ROOT = Path(__file__).parents[2]
TABLES = (
    "SELECT oid::regclass::text FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')"
)
FENCES = (
    "SELECT c.oid::regclass::text, c.relrowsecurity, c.relforcerowsecurity, pg_get_userbyid(c.relowner), c.relacl::text, "
    "(SELECT array_agg((polname, polroles::regrole[], pg_get_expr(polqual, polrelid), "
    "pg_get_expr(polwithcheck, polrelid))::text ORDER BY polname) FROM pg_policy WHERE polrelid = c.oid) "
    "FROM pg_class c WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') ORDER BY 1"
)
DOORS = (
    "SELECT oid::regprocedure::text, prosecdef, pg_get_userbyid(proowner), proacl::text FROM pg_proc "
    "WHERE pronamespace = 'public'::regnamespace AND prokind = 'f' AND NOT EXISTS "
    "(SELECT FROM pg_depend WHERE objid = pg_proc.oid AND deptype = 'e') ORDER BY 1"
)
# The condition of a partial index is spelled differently after a reload, and means the same.
INDEXES = "SELECT indexname, split_part(indexdef, ' WHERE ', 1) FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"


def linli(data_dir: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("LINLI_")}
    command = [sys.executable, "-m", "app.cli", *words]
    return subprocess.run(
        command, env=inherited | {"LINLI_DATA_DIR": str(data_dir)} | environment, cwd=ROOT, capture_output=True,
        text=True, check=False,
    )  # fmt: skip


async def everything(services: embedded.Services) -> dict[str, Any]:
    """Every row of every table, and who may do what with them."""
    connection = await asyncpg.connect(services.database_superuser_url.replace("+asyncpg", ""), database="linli")
    try:
        seen: dict[str, Any] = {
            name: await connection.fetch(query)
            for name, query in (("fences", FENCES), ("doors", DOORS), ("indexes", INDEXES))
        }
        for row in await connection.fetch(TABLES):
            table = row[0]
            seen[table] = await connection.fetch(f"SELECT t::text FROM ONLY {table} t ORDER BY 1")
        return seen
    finally:
        await connection.close()


@asynccontextmanager
async def runtime_over(services: embedded.Services, settings, embedder) -> AsyncIterator[Runtime]:
    urls = {"database_url": services.database_url, "redis_url": services.redis_url}
    async with open_test_runtime(settings.model_copy(update=urls), embedder) as runtime:
        yield runtime


async def test_a_restored_linli_differs_in_no_row_and_opens_no_door(tmp_path, settings, embedder):
    old, new, file = tmp_path / "old", tmp_path / "new", tmp_path / "linli.backup"
    old.mkdir()
    with held(old), embedded.services(old, durable=False) as services:
        await asyncio.to_thread(migrate.upgrade, services.database_owner_url)
        async with runtime_over(services, settings, embedder) as runtime:
            make = Make(runtime)
            neighbours = await make.place()
            for place in (await make.home(), neighbours):
                await make.resident(place=place)
                await make.document("停车", "临时停车前30分钟免费。", place=place)
        photo = old / "files" / "work-orders" / "community" / "order" / "sha"
        photo.parent.mkdir(parents=True)
        photo.write_bytes(b"a photo of a tap")
        before = await everything(services)
        assert (kept := linli(old, "backup", str(file))).returncode == 0, kept.stderr
        assert await everything(services) == before
    assert (kept := linli(old, "backup", str(tmp_path / "stopped.backup"))).returncode == 0, kept.stderr
    assert [path.stat().st_mode & 0o777 for path in (file, tmp_path / "stopped.backup")] == [0o600, 0o600]
    assert (told := linli(new, "restore", str(file))).returncode == 0, told.stderr
    assert (new / photo.relative_to(old)).read_bytes() == b"a photo of a tap"
    assert sorted(path.name for path in tmp_path.glob("*backup*")) == ["linli.backup", "stopped.backup"]
    with embedded.services(new, durable=False) as services:
        after = await everything(services)
        assert before.keys() == after.keys()
        assert [name for name in before if before[name] != after[name]] == []
        assert sum(len(rows) for name, rows in after.items() if name.startswith("passages_")) == 2
        await asyncio.to_thread(migrate.upgrade, services.database_owner_url)
        async with runtime_over(services, settings, embedder) as runtime, runtime.transaction(None) as session:
            assert await session.scalar(text("SELECT count(*) FROM documents")) == 0, "no tenant, no row"
        async with runtime_over(services, settings, embedder) as runtime:
            await Make(runtime).document("装修", "装修须在工作日施工。", place=neighbours)
    refused = linli(new, "restore", str(file))
    assert refused.returncode == 1
    assert "is there already" in refused.stderr


async def test_a_backup_that_is_no_backup_leaves_the_folder_as_empty_as_before(tmp_path):
    file, whole = tmp_path / "torn.backup", tmp_path / "new"
    file.write_bytes(b"PGDMP" + b"\x00" * 200)
    assert (told := linli(whole, "restore", str(file))).returncode == 1
    assert "pg_restore failed" in told.stderr
    assert not (whole / "postgres").exists()
    assert not list(whole.glob("*dump*"))


async def test_an_archive_writes_nowhere_but_into_its_folder(tmp_path):
    file, folder = tmp_path / "strange.backup", tmp_path / "new"
    with tarfile.open(file, "w") as archive:
        for name in ("files/../../outside", "/outside", "outside", "files/../secret_key"):
            member = tarfile.TarInfo(name)
            member.size = 3
            archive.addfile(member, io.BytesIO(b"bad"))
    assert linli(folder, "restore", str(file)).returncode == 1
    assert not list(tmp_path.rglob("outside"))
    assert not (folder / "secret_key").exists()


async def test_a_backup_of_nothing_and_of_a_database_of_ones_own_is_refused_in_words(tmp_path):
    told = linli(tmp_path, "backup", str(tmp_path / "file"))
    assert (told.returncode, "There is no database of Linli" in told.stderr) == (1, True)
    told = linli(tmp_path, "backup", str(tmp_path / "file"), LINLI_DATABASE_URL="postgresql://linli_app@db/linli")
    assert (told.returncode, "as a superuser" in told.stderr) == (1, True)
    assert not (tmp_path / "file").exists()

"""`linli knowledge add`: a folder's documents, added one by one; a file that cannot be read is named and skipped."""

from collections.abc import Callable
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from app.errors import AppError
from app.knowledge import ingest, reading
from app.people.callers import Caller, CallerKind, CommunityNotFound
from app.people.sign_in import find_tenant
from app.runtime import Runtime

COMMAND_ID = uuid5(NAMESPACE_URL, "linli/knowledge-add")
"""Stands as the uploader of documents that came by the command line."""
SUFFIXES = frozenset({".md", ".markdown", ".txt", ".html", ".htm", ".pdf", ".docx", ".xlsx"})


async def add_folder(runtime: Runtime, root: Path, *, slug: str, say: Callable[[str], None]) -> int:
    """Add every document below `root` (or the one file) and return how many could not be read.

    A file is known by its path below `root`, so the same folder twice changes nothing and a changed file is a new
    version. Raises CommunityNotFound.
    """
    caller = await _caller(runtime, slug)
    refused = 0
    for path in _files(root):
        name = path.name if path == root else path.relative_to(root).as_posix()
        data = path.read_bytes()
        try:
            read = await reading.read(runtime.settings, data, path.name)
            stated = {} if "source_key" in read.header else {"source_key": name}
            async with runtime.transaction(caller.tenant) as session:
                added = await ingest.add_document(
                    session, caller, reading=read, data=data, file_name=path.name, stated=stated, now=runtime.clock()
                )
                say(f"{'added' if added.created else 'known'}  {name}  {added.document.title}")
        except AppError as error:
            refused += 1
            say(f"refused  {name}  {error.message_en}")
    return refused


def _files(root: Path) -> list[Path]:
    if root.is_file():
        return [root]
    hidden = (path for path in root.rglob("*") if path.is_file() and path.suffix.lower() in SUFFIXES)
    return sorted(path for path in hidden if not any(part.startswith(".") for part in path.relative_to(root).parts))


async def _caller(runtime: Runtime, slug: str) -> Caller:
    tenant = await find_tenant(runtime, slug)
    if tenant is None:
        raise CommunityNotFound
    return Caller(tenant, CallerKind.API_KEY, COMMAND_ID, scopes=frozenset({"knowledge:read", "knowledge:write"}))

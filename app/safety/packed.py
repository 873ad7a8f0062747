"""Packed files (docx, xlsx) looked at before anything unpacks them, and the cells of sheets as text."""

import io
import zipfile
import zlib
from datetime import datetime

RATIO_MAX = 200
"""A docx of text packs about 10 to 1, of repeated tables 50 to 1."""
FILES_MAX = 10_000


class Broken(Exception):
    """It cannot be read."""


class Encrypted(Exception):
    """It asks for a password."""


class UnpacksTooLarge(Exception):
    """It is a bomb, or larger than is allowed. `unpacked_bytes` is what it states."""

    def __init__(self, unpacked_bytes: int) -> None:
        super().__init__(unpacked_bytes)
        self.unpacked_bytes = unpacked_bytes


def names_in(data: bytes, *, unpacked_bytes_max: int) -> frozenset[str]:
    """Names of the files inside. Raises: Broken, Encrypted, UnpacksTooLarge."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as packed:
            files = packed.infolist()
    except (zipfile.BadZipFile, zlib.error, ValueError, OSError, NotImplementedError) as error:
        raise Broken from error
    if any(file.flag_bits & 1 for file in files):
        raise Encrypted
    unpacked = sum(file.file_size for file in files)
    bomb = any(file.file_size > 1_000_000 and file.file_size > RATIO_MAX * file.compress_size for file in files)
    if bomb or unpacked > unpacked_bytes_max or len(files) > FILES_MAX:
        raise UnpacksTooLarge(unpacked)
    return frozenset(file.filename for file in files)


def cells_in(data: bytes) -> int:
    """Cells of all sheets of an xlsx: counting marks takes a moment, reading a million cells half a minute."""
    cells = 0
    with zipfile.ZipFile(io.BytesIO(data)) as packed:
        for name in packed.namelist():
            if name.startswith("xl/worksheets/"):
                with packed.open(name) as sheet:
                    while chunk := sheet.read(1_000_000):
                        cells += chunk.count(b"<c ") + chunk.count(b"<c>")
    return cells


def cell_text(value: object) -> str:
    """A cell as people read it: whole numbers without a point, days without a time, nothing where it is empty."""
    if value is None:
        return ""
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    if isinstance(value, datetime) and value.time() == datetime.min.time():
        return value.date().isoformat()
    return str(value)

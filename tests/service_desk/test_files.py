"""Photos and documents of work orders."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import ExifTags, Image

from app import file_storage
from app.people.tables import StaffRole
from app.runtime import Runtime
from tests.conftest import Client
from tests.make import Make, Order, Person


def photo(width: int = 60, height: int = 40) -> bytes:
    """A JPEG as a telephone takes it, lying on its side, with the place where it was taken."""
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = 6
    exif[ExifTags.Base.Make] = "SecretPhone"
    exif.get_ifd(ExifTags.IFD.GPSInfo)[ExifTags.GPS.GPSLatitudeRef] = "N"
    out = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(out, "JPEG", exif=exif, comment=b"hidden words")
    return out.getvalue()


def bomb() -> bytes:
    """A PNG of a few bytes that says it has 2,500 million pixels."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    head = struct.pack(">IIBBBBB", 50_000, 50_000, 8, 0, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 1000)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + body


async def send(client: Client, order: Order, data: bytes, name: str = "a.jpg", **form: Any) -> httpx.Response:
    url = f"/api/v1/me/workorders/{order.id}/files"
    return await client.post(url, files={"file": (name, data)}, data=form, as_=order.reporter)


@pytest.fixture
async def order(make: Make) -> Order:
    return await make.work_order()


@pytest.fixture
async def engineer(make: Make) -> Person:
    return await make.staff(role=StaffRole.ENGINEER)


async def test_a_photo_is_drawn_anew_and_read_by_those_who_see_the_order(
    client: Client, make: Make, order: Order, engineer: Person
):
    sent = await send(client, order, photo(), "../../厨房.png")
    assert sent.status_code == 201, sent.text
    kept = sent.json()
    assert (kept["media_type"], kept["width"], kept["height"], kept["name"]) == ("image/jpeg", 40, 60, "厨房.png")
    url = f"/api/v1/me/workorders/{order.id}/files/{kept['id']}"
    read = await client.get(url, as_=order.reporter)
    assert (read.status_code, read.headers["content-type"]) == (200, "image/jpeg")
    assert read.headers["content-disposition"].startswith("attachment")
    assert not any(secret in read.content for secret in (b"SecretPhone", b"GPS", b"Exif", b"hidden words"))
    assert Image.open(io.BytesIO(read.content)).size == (40, 60)
    assert (await client.get(f"{order.url}/files/{kept['id']}", as_=engineer)).content == read.content
    neighbour = await make.work_order(text="别的事")
    for other in (url, url.replace(str(order.id), str(neighbour.id))):
        assert (await client.get(other, as_=neighbour.reporter)).status_code == 404
    again = await send(client, order, photo())
    assert again.json()["id"] == kept["id"]


async def test_a_look_at_a_residents_photo_is_in_their_access_log(client: Client, order: Order, engineer: Person):
    kept = (await send(client, order, photo())).json()
    await client.get(f"{order.url}/files/{kept['id']}", as_=engineer)
    log = await client.get("/api/v1/me/access-log", as_=order.reporter)
    assert kept["id"] in log.text


async def test_files_among_colleagues_are_not_the_residents_to_see(client: Client, order: Order, engineer: Person):
    sent = await client.post(
        f"{order.url}/files", files={"file": ("a.jpg", photo())}, data={"visibility": "internal"}, as_=engineer
    )
    assert sent.status_code == 201, sent.text
    url = f"/api/v1/me/workorders/{order.id}/files"
    assert (await client.get(url, as_=order.reporter)).json()["items"] == []
    assert (await client.get(f"{url}/{sent.json()['id']}", as_=order.reporter)).status_code == 404
    assert len((await client.get(f"{order.url}/files", as_=engineer)).json()["items"]) == 1


@pytest.mark.parametrize(
    ("data", "name", "code"),
    [
        (bomb(), "a.png", "file_too_many_pixels"),
        (photo()[:200], "a.jpg", "file_broken"),
        (b"<!doctype html><script>alert(1)</script>", "a.jpg", "file_type_unsupported"),
        (b"MZ\x00\x00" + b"\x00" * 100, "setup.jpg", "document_type_unsupported"),
        (b"GIF89a not really", "a.gif", "file_broken"),
        (b"PK\x03\x04 broken", "a.docx", "document_broken"),
        (b"", "a.jpg", "document_empty"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
async def test_what_is_no_photo_or_document_is_refused(client: Client, order: Order, data: bytes, name: str, code: str):
    refused = await send(client, order, data, name)
    assert (refused.status_code, refused.json()["code"]) == (422, code)
    files = await client.get(f"/api/v1/me/workorders/{order.id}/files", as_=order.reporter)
    assert files.json()["items"] == []


async def test_a_file_that_the_storage_lost_is_told_as_such(client: Client, order: Order, runtime: Runtime):
    kept = (await send(client, order, "水表读数 356".encode(), "a.txt")).json()
    assert kept["media_type"] == "text/plain"
    folder = runtime.settings.data_dir / "files"
    for path in folder.rglob(str(order.id)):
        for lost in path.iterdir():
            lost.unlink()
    answer = await client.get(f"/api/v1/me/workorders/{order.id}/files/{kept['id']}", as_=order.reporter)
    assert (answer.status_code, answer.json()["code"]) == (404, "file_gone")


async def test_the_storage_may_be_named_by_an_address(runtime: Runtime):
    settings = runtime.settings.model_copy(update={"files_url": "memory:///"})
    await file_storage.put(settings, "work-orders/a/b", b"bytes")
    assert await file_storage.get(settings, "work-orders/a/b") == b"bytes"
    with pytest.raises(file_storage.FileGone):
        await file_storage.get(settings, "work-orders/a/c")


async def test_storage_away_is_told_and_leaves_no_row(
    client: Client, order: Order, runtime: Runtime, web: tuple[str, Any]
):
    import dataclasses

    away = runtime.settings.model_copy(
        update={"files_url": "s3://nowhere/", "upload_bytes_max": runtime.settings.upload_bytes_max}
    )
    file_storage._store.cache_clear()
    web[1].state.runtime = dataclasses.replace(runtime, settings=away)
    try:
        answer = await send(client, order, b"words", "a.txt")
    finally:
        web[1].state.runtime = runtime
    assert (answer.status_code, answer.json()["code"]) == (503, "file_storage_unavailable")
    files = await client.get(f"/api/v1/me/workorders/{order.id}/files", as_=order.reporter)
    assert files.json()["items"] == []


async def test_a_photo_of_an_iphone_is_drawn_anew_like_any_other(client: Client, order: Order):
    photo = (Path(__file__).parent / "photo.heic").read_bytes()
    assert b"SecretPhone" in photo
    sent = await send(client, order, photo, "IMG_0001.HEIC")
    assert sent.status_code == 201, sent.text
    assert (sent.json()["media_type"], sent.json()["width"], sent.json()["height"]) == ("image/jpeg", 64, 48)
    read = await client.get(f"/api/v1/me/workorders/{order.id}/files/{sent.json()['id']}", as_=order.reporter)
    seen = Image.open(io.BytesIO(read.content)).resize((1, 1)).tobytes()
    assert (seen[0] > 200, seen[1] < 60, seen[2] < 60, b"SecretPhone" in read.content) == (True, True, True, False)
    broken = await send(client, order, photo[:300], "IMG_0002.HEIC")
    assert (broken.status_code, broken.json()["code"]) == (422, "file_broken")


async def test_a_file_is_removed_by_who_added_it_or_by_staff_and_its_bytes_with_it(
    client: Client, make: Make, order: Order, engineer: Person, runtime: Runtime, run_jobs: Any
):
    kept = (await send(client, order, photo())).json()
    note = (await send(client, order, "水表读数".encode(), "a.txt")).json()
    theirs = await client.post(f"{order.url}/files", files={"file": ("b.txt", b"by staff")}, as_=engineer)
    url = f"/api/v1/me/workorders/{order.id}/files"
    assert (await client.delete(f"{url}/{theirs.json()['id']}", as_=order.reporter)).status_code == 404
    assert (await client.delete(f"{url}/{kept['id']}", as_=await make.resident())).status_code == 404
    folder = runtime.settings.data_dir / "files" / "work-orders" / str(order.place.id) / str(order.id)
    assert len(list(folder.iterdir())) == 3
    assert (await client.delete(f"{url}/{kept['id']}", as_=order.reporter)).status_code == 204
    assert (await client.delete(f"{order.url}/files/{note['id']}", as_=engineer)).status_code == 204
    assert (await client.get(f"{url}/{kept['id']}", as_=order.reporter)).status_code == 404
    assert [one["id"] for one in (await client.get(url, as_=order.reporter)).json()["items"]] == [theirs.json()["id"]]
    # The same photo again, before its bytes are gone, stays.
    again = await send(client, order, photo())
    assert again.status_code == 201
    await run_jobs()
    assert (await client.get(f"{url}/{again.json()['id']}", as_=order.reporter)).status_code == 200
    assert len(list(folder.iterdir())) == 2
    events = (await client.get(f"{order.url}/events?limit=100", as_=engineer)).json()["items"]
    kinds = [(event["kind"], event["actor_kind"]) for event in events if event["kind"].startswith("file_")]
    assert kinds.count(("file_removed", "resident")) == kinds.count(("file_removed", "staff")) == 1

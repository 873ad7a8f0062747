"""Sheets of spaces and residents: what is right goes in, what is wrong is explained row by row, nothing twice."""

import asyncio
import csv
import io
from typing import Any

import openpyxl
import pytest

from app.people import background_jobs, background_work, jobs, problems, sheets
from app.people.cells import FORMULA_STARTS
from app.people.exports import headings
from app.people.resident_import import LANGUAGE_WORDS, LANGUAGES, ROLE_WORDS
from app.people.space_import import STATE_WORDS
from app.people.tables import JobKind, ResidentRole, RoomState, StaffRole
from app.queue import HANDLERS, Lease
from app.runtime import Runtime
from tests.conftest import Client
from tests.make import Make, Person

SPACE_HEADINGS = ["期", "楼栋", "单元", "房号", "状态", "面积"]
RESIDENT_HEADINGS = ["姓名", "电话", "语言", "期", "楼栋", "单元", "房号", "身份", "已认证"]


def as_csv(*rows: list[str], encoding: str = "utf-8") -> bytes:
    text = io.StringIO(newline="")
    csv.writer(text).writerows(rows)
    return text.getvalue().encode(encoding)


def as_xlsx(*rows: list[Any]) -> bytes:
    book = openpyxl.Workbook(write_only=True)
    sheet = book.create_sheet()
    for row in rows:
        sheet.append(row)
    file = io.BytesIO()
    book.save(file)
    return file.getvalue()


async def send(client: Client, by: Person, what: str, data: bytes, name: str = "sheet.csv", **headers: str) -> Any:
    url = f"{by.place.url}/{what}/import"
    return await client.post(url, files={"file": (name, data)}, as_=by, headers=headers)


async def bring_in(client: Client, by: Person, run_jobs: Any, what: str, data: bytes) -> dict[str, Any]:
    """The job after it ended."""
    sent = await send(client, by, what, data)
    assert (sent.status_code, sent.json().get("status")) == (202, "waiting"), sent.text
    await run_jobs()
    job = (await client.get(f"{by.place.url}/jobs/{sent.json()['id']}", as_=by)).json()
    assert job["status"] == "done", job
    return dict(job)


def counts(job: dict[str, Any]) -> tuple[int, ...]:
    return tuple(job[name] for name in ("total", "done", "created", "changed", "failed"))


async def told(client: Client, by: Person, job: dict[str, Any]) -> list[tuple[int, str, str]]:
    """(line, column, code) of all problems."""
    url, found, cursor = f"{by.place.url}/jobs/{job['id']}/problems", [], ""
    while cursor is not None:
        page = (await client.get(url, params={"limit": 200, **({"cursor": cursor} if cursor else {})}, as_=by)).json()
        found += [(one["line"], one["column"], one["code"]) for one in page["items"]]
        cursor = page["next_cursor"]
    return found


async def listed(client: Client, by: Person, path: str, **params: str) -> list[dict[str, Any]]:
    return list((await client.get(f"{by.place.url}/{path}", params={"limit": 200, **params}, as_=by)).json()["items"])


def ten_thousand_rooms() -> tuple[list[list[str]], set[int]]:
    """Rows of rooms, and the lines of the 37 that are wrong."""
    rows = [
        ["一期", f"{building}栋", f"{unit}单元", f"{floor}{door:02d}", "未入住", "89.5"]
        for building in range(1, 21) for unit in range(1, 3) for floor in range(1, 26) for door in range(1, 11)
    ]  # fmt: skip
    bad = set(range(101, 10_001, 271))
    for number, at in enumerate(sorted(bad)):
        row = rows[at]
        rows[at] = [
            [row[0], "", *row[2:]], [*row[:4], "闹鬼", row[5]], [*row[:5], "很大"], ["", "", "", "", "已入住", ""],
            list(rows[at - 1]), [*row[:3], "长" * 101, *row[4:]],
        ][number % 6]  # fmt: skip
    return rows, {at + 2 for at in bad}


async def test_ten_thousand_rows_with_37_bad_ones_end_as_9963_and_37_explained(
    client: Client, manager: Person, run_jobs: Any
):
    rows, bad = ten_thousand_rooms()
    assert (len(rows), len(bad)) == (10_000, 37)
    data = as_csv(SPACE_HEADINGS, *rows)
    first = await bring_in(client, manager, run_jobs, "spaces", data)
    assert counts(first) == (10_000, 9_963, 9_963, 0, 37)
    explained = await told(client, manager, first)
    assert {line for line, _, _ in explained} == bad
    assert {code for _, _, code in explained} == {
        "parent_missing", "cell_unknown", "cell_not_a_number", "cell_missing", "row_repeated", "cell_too_long",
    }  # fmt: skip
    sheet = await client.get(f"{manager.place.url}/jobs/{first['id']}/problems.csv", as_=manager)
    lines = list(csv.reader(io.StringIO(sheet.content.decode("utf-8-sig"))))
    assert {int(row[0]) for row in lines[1:]} == bad
    assert all(row[3] and row[4] for row in lines[1:])
    again = await bring_in(client, manager, run_jobs, "spaces", data)
    assert counts(again) == (10_000, 9_963, 0, 0, 37), "a second import changes nothing"


async def test_a_job_whose_worker_dies_is_taken_up_where_it_stopped(client: Client, manager: Person, runtime: Runtime):
    rows = [["", "1栋", f"{unit}单元", f"{room:04d}", "", ""] for unit in range(1, 4) for room in range(1, 1001)]
    sent = (await send(client, manager, "spaces", as_csv(SPACE_HEADINGS, *rows))).json()
    (lease,) = await runtime.queue.take(8, wait_seconds=0)
    url = f"{manager.place.url}/jobs/{sent['id']}"
    dying = asyncio.ensure_future(HANDLERS[lease.job.name](runtime, lease))
    while not (seen := (await client.get(url, as_=manager)).json())["done"]:
        assert not dying.done()
    dying.cancel()
    await asyncio.wait([dying])
    assert (seen["status"], seen["done"] < 3_000) == ("running", True)
    next_one = Lease(lease.job, lease.token + 1, lease.attempt + 1)
    await HANDLERS[lease.job.name](runtime, next_one)
    # The dead one comes back to life and finds that another has its work.
    await HANDLERS[lease.job.name](runtime, lease)
    done = (await client.get(url, as_=manager)).json()
    assert (done["status"], counts(done)) == ("done", (3_000, 3_000, 3_000, 0, 0))
    assert len(await listed(client, manager, "spaces", **{"filter[kind]": "unit"})) == 3


async def test_a_forgotten_job_is_sent_again(
    client: Client, manager: Person, runtime: Runtime, clock: Any, run_jobs: Any
):
    sent = (await send(client, manager, "spaces", as_csv(SPACE_HEADINGS, ["", "1栋", "", "", "", ""]))).json()
    await runtime.redis.flushall()
    await jobs.sweep_background_jobs(runtime)
    assert await run_jobs() == 0, "it is not old enough to be taken for lost"
    clock.now = clock.now.replace(minute=5)
    await jobs.sweep_background_jobs(runtime)
    assert await run_jobs() >= 1
    job = (await client.get(f"{manager.place.url}/jobs/{sent['id']}", as_=manager)).json()
    assert counts(job) == (1, 1, 1, 0, 0)
    # After its days it is forgotten, names and numbers with it.
    clock.now = clock.now.replace(month=12, day=31)
    await jobs.forget_background_jobs(runtime)
    assert (await client.get(f"{manager.place.url}/jobs/{sent['id']}", as_=manager)).status_code == 404


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
async def test_csv_is_read_in_the_encodings_that_spreadsheets_write(
    client: Client, manager: Person, run_jobs: Any, encoding: str
):
    data = as_csv(["楼栋", "房号", "状态"], ["望江阁", "1502", "装修中"], encoding=encoding)
    job = await bring_in(client, manager, run_jobs, "spaces", data)
    assert counts(job) == (1, 1, 1, 0, 0)
    (room,) = await listed(client, manager, "spaces", **{"filter[kind]": "room"})
    assert (room["label"], room["state"]) == ("望江阁1502", "renovating")


async def test_xlsx_with_a_title_numbers_and_columns_of_its_own(client: Client, manager: Person, run_jobs: Any):
    data = as_xlsx(
        ["桃源里房产台账"], [], ["序号", "楼栋*", "单元", "房间", "建筑面积(㎡)", "备注"],
        [1, "2栋", 1, 1502, 89.5, "角落"], [2, 2, "1单元", 1503, 90, None], [3, "3栋", None, None, None, None],
    )  # fmt: skip
    job = await bring_in(client, manager, run_jobs, "spaces", data)
    assert (counts(job), job["notes"]) == ((3, 3, 3, 0, 0), {"ignored_columns": ["序号", "备注"]})
    rooms = await listed(client, manager, "spaces", **{"filter[kind]": "room"})
    # 2 and 2栋, 1 and 1单元 are one.
    assert [(room["label"], room["area_m2"]) for room in rooms] == [("2栋1单元1502", 89.5), ("2栋1单元1503", 90)]
    assert len(await listed(client, manager, "spaces", **{"filter[kind]": "building"})) == 2


async def test_import_changes_what_differs_and_leaves_empty_cells_alone(client: Client, manager: Person, run_jobs: Any):
    await bring_in(client, manager, run_jobs, "spaces", as_csv(SPACE_HEADINGS, ["", "1栋", "", "101", "未入住", "80"]))
    update = as_csv(SPACE_HEADINGS, ["", "1栋", "", "101", "已入住", ""], ["", "1栋", "", "102", "", ""])
    assert counts(await bring_in(client, manager, run_jobs, "spaces", update)) == (2, 2, 1, 1, 0)
    rooms = await listed(client, manager, "spaces", **{"filter[kind]": "room"})
    assert [(one["name"], one["state"], one["area_m2"]) for one in rooms] == [
        ("101", "occupied", 80),
        ("102", None, None),
    ]


async def test_a_place_that_is_something_else_already_is_told(client: Client, manager: Person, run_jobs: Any):
    await bring_in(client, manager, run_jobs, "spaces", as_csv(["楼栋", "房号"], ["A座", "门房"]))
    job = await bring_in(
        client, manager, run_jobs, "spaces", as_csv(["期", "楼栋", "单元"], ["A座", "", ""], ["", "A座", "门房"])
    )
    assert await told(client, manager, job) == [(2, "期", "kind_differs"), (3, "单元", "kind_differs")]


PEOPLE = (
    ["沈书宁", "15400001234", "", "", "1栋", "", "101", "业主", "是"],
    ["沈小满", "", "中文", "", "1栋", "", "101", "家庭成员", ""],
    ["Emma Carter", "+86 154 0000 5678", "英语", "", "1栋", "", "102", "租户", "否"],
    ["没房的人", "15400009999", "", "", "", "", "", "", ""],
)


async def test_residents_move_in_by_sheet_and_a_second_time_nothing_changes(
    client: Client, manager: Person, run_jobs: Any
):
    await bring_in(
        client,
        manager,
        run_jobs,
        "spaces",
        as_csv(SPACE_HEADINGS, *(["", "1栋", "", f"10{n}", "", ""] for n in range(1, 5))),
    )
    data = as_csv(RESIDENT_HEADINGS, *PEOPLE)
    assert counts(await bring_in(client, manager, run_jobs, "residents", data)) == (4, 4, 4, 0, 0)
    assert counts(await bring_in(client, manager, run_jobs, "residents", data)) == (4, 4, 0, 0, 0)
    people = {one["name"]: one for one in await listed(client, manager, "residents")}
    assert set(people) == {row[0] for row in PEOPLE}
    owner, child, tenant = people["沈书宁"], people["沈小满"], people["Emma Carter"]
    assert owner["rooms"][0]["household_id"] == child["rooms"][0]["household_id"], "one family, one household"
    assert [(one["rooms"][0]["role"], one["rooms"][0]["verified_at"] is not None) for one in (owner, child, tenant)] == [
        ("owner", True), ("family", False), ("tenant", False),
    ]  # fmt: skip
    assert (tenant["language"], tenant["phone"], people["没房的人"]["rooms"]) == ("en", "+86 154 0000 5678", [])
    # What was learnt since: a phone for who had none, a room more, another role that wants papers again.
    update = as_csv(
        RESIDENT_HEADINGS, ["沈小满", "15400007777", "", "", "1栋", "", "101", "家庭成员", ""],
        ["沈书宁", "15400001234", "", "", "1栋", "", "103", "业主", "是"],
        ["沈书宁", "15400001234", "", "", "1栋", "", "101", "家庭成员", ""],
    )  # fmt: skip
    assert counts(await bring_in(client, manager, run_jobs, "residents", update)) == (3, 3, 0, 3, 0)
    people = {one["name"]: one for one in await listed(client, manager, "residents")}
    assert people["沈小满"]["phone"] == "15400007777"
    assert [(one["label"], one["role"], one["verified_at"] is not None) for one in people["沈书宁"]["rooms"]] == [
        ("1栋101", "family", False), ("1栋103", "owner", True),
    ]  # fmt: skip


async def test_every_bad_row_of_residents_is_explained(client: Client, make: Make, manager: Person, run_jobs: Any):
    await bring_in(client, manager, run_jobs, "spaces", as_csv(SPACE_HEADINGS, ["", "1栋", "", "101", "", ""]))
    (room,) = await listed(client, manager, "spaces", **{"filter[kind]": "room"})
    elsewhere = await make.resident(place=await make.place())
    rows = [
        ["", "1", "", "", "", "", "", "", "", ""],
        ["甲", "call me", "", "", "", "", "", "", "", ""],
        ["乙", "", "法语", "", "", "", "", "", "", ""],
        ["丙", "", "", "", "1栋", "", "101", "房东", "", ""],
        ["丁", "", "", "", "1栋", "", "999", "业主", "", ""],
        ["戊", "", "", "", "1栋", "", "101", "", "", ""],
        ["己", "", "", "", "1栋", "", "101", "业主", "也许", ""],
        ["庚", "", "", "", "", "", "", "", "", str(elsewhere.id)],
        ["辛", "", "", "", "", "", "101", "业主", "", ""],
        ["壬", "", "", "", "", "", "", "业主", "", ""],
        ["癸", "", "", "", "1栋", "", "101", "业主", "", ""],
        ["癸", "", "", "", "1栋", "", "101", "业主", "", ""],
    ]
    job = await bring_in(client, manager, run_jobs, "residents", as_csv([*RESIDENT_HEADINGS, "编号"], *rows))
    assert counts(job) == (12, 1, 1, 0, 11)
    assert await told(client, manager, job) == [
        (2, "姓名", "cell_missing"), (3, "电话", "phone_invalid"), (4, "语言", "cell_unknown"),
        (5, "身份", "cell_unknown"), (6, "房号", "room_unknown"), (7, "身份", "cell_missing"),
        (8, "已认证", "cell_unknown"), (9, "编号", "resident_unknown"), (10, "楼栋", "parent_missing"),
        (11, "房号", "cell_missing"), (13, "姓名", "row_repeated"),
    ]  # fmt: skip
    # With a second household in the room, only a person can say to which a newcomer belongs.
    await client.post(f"{manager.place.url}/households", json={"room_id": room["id"]}, as_=manager)
    more = as_csv(
        RESIDENT_HEADINGS,
        ["新来", "", "", "", "1栋", "", "101", "租户", ""],
        ["癸", "", "", "", "1栋", "", "101", "业主", ""],
    )
    job = await bring_in(client, manager, run_jobs, "residents", more)
    assert (counts(job), await told(client, manager, job)) == ((2, 1, 0, 0, 1), [(2, "房号", "household_ambiguous")])


@pytest.mark.parametrize("file_format", ["csv", "xlsx"])
async def test_what_is_exported_comes_back_without_a_change_and_without_formulas(
    client: Client, manager: Person, run_jobs: Any, file_format: str
):
    spaces = as_csv(
        SPACE_HEADINGS,
        ["一期", "10栋", "1单元", "101", "装修中", "89.25"],
        ["一期", "2栋", "", "=1+1", "", "60"],
        ["二期", "", "", "", "", ""],
    )
    await bring_in(client, manager, run_jobs, "spaces", spaces)
    people = [
        ["@SUM(A1)", "+86 1540000", "", "一期", "2栋", "", "=1+1", "业主", "是"],
        ["-2+3", "", "", "", "", "", "", "", ""],
    ]
    await bring_in(client, manager, run_jobs, "residents", as_csv(RESIDENT_HEADINGS, *people))
    for what, rows in (("spaces", 3), ("residents", 2)):
        job = (
            await client.post(f"{manager.place.url}/{what}/export", json={"format": file_format}, as_=manager)
        ).json()
        early = await client.get(f"{manager.place.url}/jobs/{job['id']}/file", as_=manager)
        assert (early.status_code, early.json()["code"]) == (409, "job_has_no_file")
        await run_jobs()
        file = await client.get(f"{manager.place.url}/jobs/{job['id']}/file", as_=manager)
        assert (file.status_code, file.headers["content-type"]) == (200, sheets.MEDIA_TYPES[file_format])
        cells = read(file.content, file_format)
        assert len(cells) == rows + 1
        assert not [cell for row in cells for cell in row if cell.startswith(FORMULA_STARTS)]
        back = await bring_in(client, manager, run_jobs, what, file.content)
        assert counts(back) == (rows, rows, 0, 0, 0), what
    assert [row[1] for row in read(file.content, file_format)][1:] == ["'+86 1540000", ""]


def read(data: bytes, file_format: str) -> list[list[str]]:
    if file_format == "csv":
        return list(csv.reader(io.StringIO(data.decode("utf-8-sig"))))
    book = openpyxl.load_workbook(io.BytesIO(data))
    assert not [cell for row in book.worksheets[0].iter_rows() for cell in row if cell.data_type == "f"]
    return [[str(cell or "") for cell in row] for row in book.worksheets[0].iter_rows(values_only=True)]


@pytest.mark.parametrize("file_format", ["csv", "xlsx"])
@pytest.mark.parametrize("what", ["spaces", "residents"])
async def test_the_template_is_itself_an_import(
    client: Client, manager: Person, run_jobs: Any, what: str, file_format: str
):
    await bring_in(
        client, manager, run_jobs, "spaces", as_csv(SPACE_HEADINGS, ["一期", "2栋", "1单元", "1502", "", ""])
    )
    template = await client.get(
        f"{manager.place.url}/{what}/import/template", params={"format": file_format}, as_=manager
    )
    assert f'filename="import_{what}-template.{file_format}"' in template.headers["content-disposition"]
    job = await bring_in(client, manager, run_jobs, what, template.content)
    assert job["failed"] == 0


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 422, "sheet_empty"),
        (b"%PDF-1.7 no table", 422, "sheet_type_unsupported"),
        (b"PK\x03\x04 and no more", 422, "sheet_broken"),
        (sheets.OLD_OFFICE + b"\x00" * 600, 422, "sheet_type_unsupported"),
        (b"\x81\xff\xff\x00\xfe", 422, "sheet_encoding_unknown"),
        ("颜色,形状\n红,圆\n".encode(), 422, "sheet_columns_missing"),
        ("楼栋,房号\n".encode(), 422, "sheet_empty"),
        ('楼栋,房号\n"1栋,101\n'.encode() + b"x" * 200_000, 422, "sheet_broken"),
        ("楼栋\n".encode() + b"1\n" * 60_000, 413, "sheet_too_long"),
    ],
)
async def test_files_that_are_no_table_are_refused_in_words(
    client: Client, manager: Person, data: bytes, status: int, code: str
):
    refused = await send(client, manager, "spaces", data)
    assert (refused.status_code, refused.json()["code"]) == (status, code), refused.text
    assert await listed(client, manager, "jobs") == []


async def test_a_bomb_is_refused_before_it_goes_off(client: Client, manager: Person):
    import zipfile

    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as packed:
        packed.writestr("xl/workbook.xml", "<workbook/>")
        packed.writestr("xl/worksheets/sheet1.xml", b"0" * 50_000_000)
    refused = await send(client, manager, "spaces", file.getvalue(), "bomb.xlsx")
    assert (refused.status_code, refused.json()["code"]) == (413, "sheet_unpacks_too_large")


async def test_an_upload_sent_twice_is_one_job(client: Client, manager: Person, run_jobs: Any):
    data = as_csv(SPACE_HEADINGS, ["", "1栋", "", "", "", ""])
    first, second = [await send(client, manager, "spaces", data, **{"Idempotency-Key": "k1"}) for _ in range(2)]
    assert (first.json()["id"], second.headers["idempotency-replayed"]) == (second.json()["id"], "true")
    other = await send(client, manager, "spaces", data + b"2\n", **{"Idempotency-Key": "k1"})
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")
    assert await run_jobs() == 1


async def test_jobs_are_seen_by_those_who_may_start_them_and_are_not_too_many(
    client: Client, make: Make, manager: Person
):
    guard, resident = await make.staff(role=StaffRole.SECURITY), await make.resident()
    stranger = await make.staff(place=await make.place())
    job = (await client.post(f"{manager.place.url}/residents/export", json={}, as_=manager)).json()
    for who, status in ((guard, 404), (stranger, 404), (resident, 403)):
        assert (await client.get(f"{manager.place.url}/jobs/{job['id']}", as_=who)).status_code == status
    refused = await client.post(f"{manager.place.url}/residents/export", json={}, as_=guard)
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    seen = (await client.post(f"{manager.place.url}/spaces/export", json={}, as_=guard)).json()
    assert [one["id"] for one in await listed(client, guard, "jobs")] == [seen["id"]]
    answers = [await client.post(f"{manager.place.url}/spaces/export", json={}, as_=manager) for _ in range(9)]
    assert [answer.status_code for answer in answers] == [202] * 8 + [409]
    assert answers[-1].json()["code"] == "too_many_jobs"


async def test_a_key_follows_what_it_brings_in(client: Client, make: Make, manager: Person, run_jobs: Any):
    key = await make.api_key("spaces:write", "jobs:read")
    url, sheet = manager.place.url, {"file": ("a.csv", as_csv(SPACE_HEADINGS, ["", "88栋", "1单元", "101", "", ""]))}
    sent = (await client.post(f"{url}/spaces/import", files=sheet, as_=key)).json()
    await run_jobs()
    job = (await client.get(f"{url}/jobs/{sent['id']}", as_=key)).json()
    assert (job["status"], counts(job)) == ("done", (1, 1, 1, 0, 0))


async def test_who_waits_is_told_when_a_job_fails_for_good(
    client: Client, manager: Person, runtime: Runtime, clock: Any
):
    sent = (await client.post(f"{manager.place.url}/spaces/export", json={}, as_=manager)).json()
    (lease,) = await runtime.queue.take(8, wait_seconds=0)
    await runtime.queue.fail(lease, reason="the disk is on fire")
    clock.now = clock.now.replace(minute=5)
    await jobs.sweep_background_jobs(runtime)
    failed = (await client.get(f"{manager.place.url}/jobs/{sent['id']}", as_=manager)).json()
    assert (failed["status"], failed["error"]) == ("failed", "attempts_used_up")
    # The sweeper sends what other communities left waiting, too.
    taken = await runtime.queue.take(100, wait_seconds=0)
    assert [lease for lease in taken if lease.job.community_id == manager.place.id] == []


def test_tables_are_complete():
    assert set(background_jobs.KIND_SCOPES) == set(JobKind) == {*background_work.IMPORTERS, *background_work.EXPORTERS}
    assert set(STATE_WORDS) == set(RoomState)
    assert set(ROLE_WORDS) == set(ResidentRole)
    assert set(LANGUAGE_WORDS.values()) <= set(LANGUAGES)
    for kind in (JobKind.IMPORT_SPACES, JobKind.IMPORT_RESIDENTS):
        importer = background_work.IMPORTERS[kind]
        assert headings(JobKind(kind.replace("import", "export"))) == [column.zh for column in importer.columns]
        names = [heading for column in importer.columns for heading in column.headings]
        assert len(names) == len(set(names)), "two columns answer to one heading"
    for zh, en in problems.WORDS.values():
        assert zh.endswith("。")
        assert en.endswith(".")


async def test_a_resident_sees_that_the_list_they_stand_in_was_taken_away(
    client: Client, make: Make, manager: Person, run_jobs: Any
):
    resident = await make.resident()
    job = (await client.post(f"{manager.place.url}/residents/export", json={}, as_=manager)).json()
    await run_jobs()
    assert (await client.get("/api/v1/me/access-log", as_=resident)).json()["items"] == []
    await client.get(f"{manager.place.url}/jobs/{job['id']}/file", as_=manager)
    assert len((await client.get("/api/v1/me/access-log", as_=resident)).json()["items"]) == 1

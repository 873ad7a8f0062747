"""Documents over HTTP: uploaded, found, replaced, taken away, and never shown to the wrong person."""

import pytest

from app.people.tables import ResidentRole
from tests.knowledge import files

PARKING = "# 停车收费\n\n外来车辆每小时{price}元，24小时最高40元。"


@pytest.fixture
def upload(client, make):
    async def send(name, content, *, as_=None, **fields):
        place = await make.home()
        headers = {"Idempotency-Key": key} if (key := fields.pop("key", None)) else {}
        data = content.encode() if isinstance(content, str) else content
        return await client.post(
            f"{place.url}/documents", files={"file": (name, data)}, data=fields, headers=headers,
            as_=as_ or await make.staff(),
        )  # fmt: skip

    return send


@pytest.fixture
def ask(client, make):
    async def send(question, *, as_, place=None, **body):
        place = place or await make.home()
        reply = await client.post(f"{place.url}/search", json={"question": question, **body}, as_=as_)
        assert reply.status_code == 200, reply.text
        return reply.json()

    return send


def titles(found):
    return [item["title"] for item in found["items"]]


async def test_an_uploaded_document_is_found_once_its_job_ran(client, make, upload, ask, run_jobs):
    staff, resident = await make.staff(), await make.resident()
    added = await upload("parking.md", PARKING.format(price=5), as_=staff)
    assert (added.status_code, added.json()["status"]) == (201, "waiting")
    assert (await ask("停车多少钱", as_=resident))["items"] == []
    assert await run_jobs() == 1
    found = await ask("外来车停车多少钱", as_=resident)
    assert found["items"][0]["text"] == "外来车辆每小时5元，24小时最高40元。"
    quote = found["quotes"][0]
    assert quote["text"] == found["items"][0]["text"][quote["start"] : quote["end"]]
    url = f"{(await make.home()).url}/documents/{added.json()['id']}"
    shown = (await client.get(url, as_=resident)).json()
    assert (shown["status"], shown["passages_done"], shown["title"]) == ("ready", 1, "停车收费")
    passages = (await client.get(f"{url}/passages", as_=resident)).json()["items"]
    assert [passage["headings"] for passage in passages] == [["停车收费"]]
    listed = (await client.get(f"{(await make.home()).url}/documents", as_=resident)).json()
    assert [row["id"] for row in listed["items"]] == [shown["id"]]


async def test_a_long_document_is_read_page_by_page_in_its_order(client, make):
    rules = "\n\n".join(f"## 第{number}条\n\n第{number}条的内容。" for number in range(1, 8))
    document_id = await make.document("管理规约", f"# 管理规约\n\n{rules}")
    staff, cursor = await make.staff(), None
    seen: list[int] = []
    while cursor or not seen:
        url = f"{(await make.home()).url}/documents/{document_id}/passages?limit=3"
        page = (await client.get(url + (f"&cursor={cursor}" if cursor else ""), as_=staff)).json()
        assert len(page["items"]) <= 3
        seen += [passage["ordinal"] for passage in page["items"]]
        cursor = page["next_cursor"]
    assert seen == list(range(7))


async def test_the_same_content_twice_changes_nothing_and_a_newer_one_takes_its_place(make, upload, ask, run_jobs):
    resident = await make.resident()
    first = (await upload("parking.md", PARKING.format(price=4))).json()
    await run_jobs()
    again = await upload("parking.md", PARKING.format(price=4))
    assert (again.status_code, again.json()["id"], await run_jobs()) == (200, first["id"], 0)
    newer = (await upload("parking.md", PARKING.format(price=5))).json()
    assert newer["version"] == 2
    assert "每小时4元" in (await ask("停车多少钱", as_=resident))["items"][0]["text"], "until the new one is ready"
    await run_jobs()
    assert [item["document_id"] for item in (await ask("停车多少钱", as_=resident))["items"]] == [newer["id"]]


async def test_versions_that_finish_in_the_wrong_order_still_leave_the_newest(runtime, make, upload, ask):
    from app.knowledge import ingest

    first = (await upload("parking.md", PARKING.format(price=4))).json()
    newer = (await upload("parking.md", PARKING.format(price=5))).json()
    for row in (newer, first):
        await ingest.ingest(runtime, (await make.home()).tenant, row["id"])
    found = await ask("停车多少钱", as_=await make.resident())
    assert [item["document_id"] for item in found["items"]] == [newer["id"]]


async def test_a_notice_that_replaces_another_does_so_from_its_first_day(make, ask):
    staff = await make.staff()
    await make.document("停车管理规定2024", PARKING.format(price=4), source_key="parking-2024")
    await make.document("停车管理规定2026", PARKING.format(price=5), replaces="parking-2024", valid_from="2026-03-01")
    assert titles(await ask("停车多少钱", as_=staff, as_of="2026-02-28T12:00:00+08:00")) == ["停车管理规定2024"]
    assert titles(await ask("停车多少钱", as_=staff, as_of="2026-03-01T00:00:00+08:00")) == ["停车管理规定2026"]
    assert titles(await ask("停车多少钱", as_=await make.resident())) == ["停车管理规定2026"]


async def test_a_notice_holds_through_its_last_day_in_the_community_s_time(make, ask, clock):
    from datetime import datetime

    await make.document("停水通知", "# 停水\n\n二期停水。", valid_from="2026-11-20", valid_to="2026-11-22")
    resident = await make.resident()
    seen = {}
    for moment in ("2026-11-19T23:59:00+08:00", "2026-11-22T23:59:00+08:00", "2026-11-23T00:00:00+08:00"):
        clock.now = datetime.fromisoformat(moment)
        seen[moment[8:16]] = titles(await ask("停水", as_=resident))
    assert seen == {"19T23:59": [], "22T23:59": ["停水通知"], "23T00:00": []}


async def test_each_reader_finds_only_what_is_meant_for_them(client, make, ask):
    nine, ten = await make.building(name="9栋"), await make.building(name="10栋")
    for audience in ("all", "owners", "staff", "building:9栋"):
        await make.document(f"外墙维修 {audience}", "# 外墙\n\n外墙维修说明。", audience=audience)
    readers = {
        "tenant of 10": await make.resident(building_id=ten),
        "tenant of 9": await make.resident(building_id=nine),
        "owner of 10": await make.resident(building_id=ten, role=ResidentRole.OWNER),
        "unverified owner of 9": await make.resident(building_id=nine, role=ResidentRole.OWNER, verified=False),
        "staff": await make.staff(),
        "key": await make.api_key("knowledge:read"),
        "staff key": await make.api_key("knowledge:read", "knowledge:staff"),
    }
    url = f"{(await make.home()).url}/documents"
    found, listed = {}, {}
    for name, reader in readers.items():
        found[name] = {title.split()[1] for title in titles(await ask("外墙维修", as_=reader, limit=20))}
        rows = (await client.get(url, as_=reader)).json()["items"]
        listed[name] = {row["title"].split()[1] for row in rows}
        for row in (await client.get(url, as_=readers["staff"])).json()["items"]:
            status = (await client.get(f"{url}/{row['id']}/passages", as_=reader)).status_code
            assert (status == 200) == (row["title"].split()[1] in found[name]), (name, row["title"])
    assert found == listed == {
        "tenant of 10": {"all"},
        "tenant of 9": {"all", "building:9栋"},
        "owner of 10": {"all", "owners"},
        "unverified owner of 9": {"all"},
        "staff": {"all", "owners", "staff", "building:9栋"},
        "key": {"all"},
        "staff key": {"all", "owners", "staff", "building:9栋"},
    }  # fmt: skip


async def test_a_key_that_uploads_sees_its_own_documents_but_not_what_is_for_staff(client, make, upload):
    key, url = await make.api_key("knowledge:read", "knowledge:write"), f"{(await make.home()).url}/documents"
    secret = await make.document("员工手册", "# 员工\n\n备用钥匙在前台。", audience="staff")
    own = (await upload("shift.md", "# 排班\n\n夜班两人。", as_=key, audience="staff")).json()["id"]
    assert [row["id"] for row in (await client.get(url, as_=key)).json()["items"]] == [own]
    assert (await client.get(f"{url}/{secret}/passages", as_=key)).status_code == 404


async def test_another_community_s_documents_are_not_there(client, make, ask):
    theirs = await make.place()
    document = await make.document("暗号", "# 暗号\n\n金丝雀在唱歌。", place=theirs)
    await make.document("公告", "# 公告\n\n今日无事。")
    staff, home = await make.staff(), await make.home()
    assert "暗号" not in titles(await ask("金丝雀在唱歌", as_=staff, limit=20))
    assert (await client.get(f"{home.url}/documents/{document}", as_=staff)).status_code == 404
    assert (await client.get(f"{theirs.url}/documents/{document}", as_=staff)).status_code == 404
    assert (await client.delete(f"{theirs.url}/documents/{document}", as_=staff)).status_code == 404
    reply = await client.post(f"{theirs.url}/search", json={"question": "金丝雀"}, as_=staff)
    assert reply.status_code == 404


async def test_the_app_s_database_role_sees_no_passage_without_its_tenant(runtime, make):
    from sqlalchemy import text

    home = await make.home()
    await make.document("公告", "# 公告\n\n今日无事。")
    partition = f"passages_{home.id.hex}"
    counts = "SELECT (SELECT count(*) FROM passages), (SELECT count(*) FROM documents), (SELECT count(*) FROM embedding_states)"
    async with runtime.transaction((await make.place()).tenant) as session:
        assert (await session.execute(text(counts))).one() == (0, 0, 0)
        found = await session.execute(text("SELECT * FROM wording_candidates('zh', '''公告''', ARRAY['公告'], 10)"))
        assert found.all() == []
    async with runtime.transaction(home.tenant) as session:
        assert (await session.execute(text(counts))).one() == (1, 1, 1)
        allowed = await session.scalar(text(f"SELECT has_table_privilege('linli_app', '{partition}', 'SELECT')"))
        assert allowed is False


async def test_a_question_in_one_language_finds_the_answer_in_the_other(make, ask):
    await make.document("泳池", "# 泳池\n\n泳池每天6:00至21:00开放，12岁以下儿童须由成人陪同。")
    await make.document("装修", "# 装修\n\n装修须提前5天报备，工作日8:00至18:00施工。")
    await make.document("垃圾", "# 垃圾\n\n厨余垃圾每天7:00前投放到分类点。")
    await make.document("Guest rooms", "# Guest rooms\n\nA guest room costs 220 yuan a night, five nights at most.")
    await make.document("Umbrellas", "# Umbrellas\n\nYou can borrow an umbrella at the front desk for three days.")
    resident = await make.resident()
    assert titles(await ask("May my child go to the swimming pool alone?", as_=resident, limit=1)) == ["泳池"]
    assert titles(await ask("客房一晚上多少钱", as_=resident, limit=1)) == ["Guest rooms"]


async def test_a_deleted_document_is_gone_and_what_it_replaced_is_back(client, make, ask):
    staff = await make.staff()
    await make.document("旧通知", "# 停水\n\n周六停水。", source_key="old")
    newer = await make.document("新通知", "# 停水\n\n周日停水。", replaces="old")
    assert titles(await ask("停水", as_=staff)) == ["新通知"]
    assert (await client.delete(f"{(await make.home()).url}/documents/{newer}", as_=staff)).status_code == 204
    assert titles(await ask("停水", as_=staff)) == ["旧通知"]


@pytest.mark.parametrize(
    ("name", "content", "status", "code"),
    [
        ("bomb.docx", files.bomb_docx(), 413, "document_unpacks_too_large"),
        ("secret.pdf", files.encrypted_pdf(), 422, "document_encrypted"),
        ("cut.pdf", b"%PDF-1.4 broken", 422, "document_broken"),
        ("photo.png", b"\x89PNG\r\n\x1a\n\x00\x00", 422, "document_type_unsupported"),
        ("a.md", "---\naudience: everybody\n---\ntext", 422, "document_audience_unknown"),
        ("a.md", "---\naudience: building:99栋\n---\ntext", 422, "document_building_unknown"),
        ("a.md", "---\nvalid_from: soon\n---\ntext", 422, "document_date_invalid"),
    ],
)
async def test_a_bad_upload_is_refused_and_leaves_nothing(client, make, upload, name, content, status, code):
    staff = await make.staff()
    reply = await upload(name, content, as_=staff)
    assert (reply.status_code, reply.json()["code"]) == (status, code)
    listed = await client.get(f"{(await make.home()).url}/documents", as_=staff)
    assert listed.json()["items"] == []


async def test_who_may_upload_and_what_a_replay_does(make, upload):
    resident, staff = await make.resident(), await make.staff()
    refused = await upload("a.md", "# A\n\n文字", as_=resident)
    assert (refused.status_code, refused.json()["code"]) == (403, "scope_missing")
    first = await upload("a.md", "# A\n\n文字", as_=staff, key="k1")
    again = await upload("a.md", "# A\n\n文字", as_=staff, key="k1")
    assert (again.status_code, again.json()["id"]) == (201, first.json()["id"])
    other = await upload("a.md", "# A\n\n别的文字", as_=staff, key="k1")
    assert (other.status_code, other.json()["code"]) == (422, "idempotency_key_reused")


async def test_an_empty_or_endless_question_is_refused_and_signs_find_nothing(client, make):
    resident, home = await make.resident(), await make.home()
    for question in ("", "  ", "问" * 100_000):
        reply = await client.post(f"{home.url}/search", json={"question": question}, as_=resident)
        assert reply.status_code == 422
    reply = await client.post(f"{home.url}/search", json={"question": "？！'|&:*<->\\"}, as_=resident)
    assert (reply.status_code, reply.json()["items"]) == (200, [])


async def test_the_sweeper_sends_what_redis_forgot(runtime, make, upload, run_jobs, clock):
    from datetime import timedelta

    from app.knowledge.jobs import sweep_waiting_documents

    await upload("a.md", "# A\n\n文字")
    await runtime.redis.flushall()
    assert await run_jobs() == 0
    clock.now += timedelta(minutes=5)
    await sweep_waiting_documents(runtime)
    assert await run_jobs() >= 1

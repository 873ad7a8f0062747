"""`linli eval qa` on two documents: asked as each role, at each time, and nothing left behind."""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text

from app.evals.qa import evaluate
from app.evals.qa_judge import parse_question
from models.scripted_engine import ScriptedEngine

ROOT = Path(__file__).parents[2]

PARKING = """---
title: 停车管理规定
audience: all
valid_from: 2026-03-01
---
# 停车管理规定

## 1. 临时停车

未登记的外来车辆进场30分钟内免费；超过30分钟的，每小时5元，24小时内最高40元。
"""
KEYS = """---
title: 钥匙柜管理
audience: staff
---
# 钥匙柜管理

水泵房的钥匙放在监控室K3柜第二层，由值班班长保管，借出须登记。
"""
FACADE = """---
title: 9栋外墙维修通知
audience: building:9栋
---
# 9栋外墙维修通知

外墙维修自11月23日开始，负责人电话154-0000-0611，请关好窗户。
"""
QUESTIONS = [
    {
        "id": "a",
        "question": "外来车辆临时停车超过30分钟怎么收费",
        "answerable": True,
        "must_contain": [["5元"], ["40元"]],
    },
    {
        "id": "b",
        "question": "水泵房的钥匙放在哪个柜",
        "answerable": False,
        "must_not_contain": ["K3"],
        "kind": "staff_only",
    },
    {
        "id": "c",
        "question": "水泵房的钥匙放在哪个柜",
        "answerable": True,
        "must_contain": [["K3"]],
        "role": "staff",
        "doc": "keys.md",
    },
    {
        "id": "d",
        "question": "外来车辆临时停车超过30分钟怎么收费",
        "answerable": False,
        "as_of": "2026-01-01T09:00:00+08:00",
    },
    {"id": "e", "question": "x" * 5000, "answerable": True},
    {
        "id": "f",
        "question": "外墙维修负责人电话是多少",
        "answerable": True,
        "building": "9栋",
        "must_contain": [["154-0000-0611"]],
    },
    {
        "id": "g",
        "question": "外墙维修负责人电话是多少",
        "answerable": False,
        "building": "3栋",
        "must_not_contain": ["154"],
    },
    {
        "id": "h",
        "question": "那最高呢",
        "answerable": True,
        "history": ["外来车辆临时停车超过30分钟怎么收费"],
        "must_contain": [["40元"]],
    },
]


@pytest.fixture
def documents(tmp_path):
    folder = tmp_path / "documents"
    folder.mkdir()
    (folder / "parking.md").write_text(PARKING)
    (folder / "keys.md").write_text(KEYS)
    (folder / "facade.md").write_text(FACADE)
    (folder / "broken.pdf").write_bytes(b"no pdf at all")
    return folder


async def communities(runtime):
    # As the owner of a scratch community nobody else sees its rows, so slugs are looked up through the door function.
    async with runtime.transaction(None) as session:
        return (
            await session.execute(text("SELECT count(*) FROM pg_class WHERE relname LIKE 'passages_%'"))
        ).scalar_one()


async def test_every_question_is_asked_in_its_role_and_at_its_time(runtime, documents):
    before = await communities(runtime)
    vague = dataclasses.replace(runtime, engine=ScriptedEngine(lambda request: "请看原文。"))
    result = await evaluate(vague, [parse_question(row, 1) for row in QUESTIONS], documents)
    by_id = {asked.question.id: asked for asked in result.asked}
    assert "".join(by_id) == "abcdefgh"
    assert by_id["a"].verdict.right
    assert not by_id["a"].verdict.words_right
    assert by_id["b"].verdict.refusal == "right"
    assert by_id["c"].verdict.right
    assert by_id["c"].verdict.cited_right
    assert by_id["d"].verdict.refusal == "right"
    assert by_id["e"].shown.failed == "question_too_long"
    assert by_id["f"].verdict.right
    assert by_id["g"].verdict.forbidden == ()
    assert by_id["h"].verdict.right
    assert set(result.refused_files) == {"broken.pdf"}
    assert json.dumps([asked.row() for asked in result.asked], default=str)
    assert await communities(runtime) == before


async def test_the_scratch_community_is_gone_also_after_a_failure(runtime, documents):
    before = await communities(runtime)

    def broken(asked):
        raise OSError("the disk is full")

    with pytest.raises(ExceptionGroup):
        await evaluate(runtime, [parse_question(QUESTIONS[0], 1)], documents, step=broken)
    assert await communities(runtime) == before


def test_the_command_prints_a_table_and_writes_every_row(settings, documents, tmp_path):
    file, out = tmp_path / "questions.jsonl", tmp_path / "out.json"
    file.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in QUESTIONS))
    environment = {
        **os.environ, "LINLI_DATABASE_URL": settings.database_url, "LINLI_REDIS_URL": settings.redis_url,
        "LINLI_DATA_DIR": str(tmp_path),
    }  # fmt: skip
    command = [
        "eval",
        "qa",
        "--documents",
        str(documents),
        str(file),
        "--engine",
        "off",
        "--json",
        str(out),
        "--limit",
        "3",
    ]
    done = subprocess.run(  # noqa: PLW1510
        [sys.executable, "-m", "app.cli", *command],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "staff_only" in done.stdout
    assert "missing fact" in done.stdout
    told = json.loads(out.read_text())
    assert [row["input"]["id"] for row in told["rows"]] == ["a", "b", "c"]
    assert told["summary"]["all"]["right"] == 3
    assert told["rows"][0]["mode"] == "quotes"


def test_a_bad_line_ends_the_command_with_its_number(documents, tmp_path):
    file = tmp_path / "questions.jsonl"
    file.write_text('{"question": "好吗", "answerable": false}\n{"question": 1}\n')
    done = subprocess.run(  # noqa: PLW1510
        [sys.executable, "-m", "app.cli", "eval", "qa", "--documents", str(documents), str(file)],
        cwd=ROOT, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "line 2" in done.stderr

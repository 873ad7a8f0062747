"""What a property office uploads, and what an attacker would."""

import time

import pytest

from app.knowledge import reading
from app.knowledge.parsers import PARSERS
from app.knowledge.reading import REFUSALS, DocumentRefused, UploadTooLarge
from app.settings import Settings
from tests.knowledge import files

SETTINGS = Settings(_env_file=None, data_dir="var")
MARKDOWN = """---
title: 停车管理规定
audience: owners
valid_from: 2026-03-01
---
# 停车管理规定

## 1. 月租

| 车位 | 月租 |
|---|---|
| 地下固定 | 380元 |

1. 提前7天**续租**。
"""
HTML = """<!doctype html><title>通知</title><nav>首页</nav><h1>停水通知</h1><p>周六停水。</p>
<table><tr><th>楼栋</th><th>时间</th></tr><tr><td>9栋</td><td>8:00</td></tr></table><script>alert(1)</script>"""


async def read(data: bytes, name: str, settings: Settings = SETTINGS) -> reading.Reading:
    return await reading.read(settings, data, name)


async def texts(data: bytes, name: str) -> list[str]:
    return [block.text for block in (await read(data, name)).blocks]


async def test_markdown_keeps_header_headings_and_table_rows_that_stand_alone():
    result = await read(MARKDOWN.encode(), "parking.md")
    assert result.header == {"title": "停车管理规定", "audience": "owners", "valid_from": "2026-03-01"}
    assert [(block.headings, block.text) for block in result.blocks] == [
        (("停车管理规定", "1. 月租"), "车位：地下固定；月租：380元"),
        (("停车管理规定", "1. 月租"), "1. 提前7天续租。"),
    ]


async def test_html_without_menus_and_scripts():
    assert await texts(HTML.encode(), "notice.html") == ["周六停水。", "楼栋：9栋；时间：8:00"]


async def test_word_excel_and_pdf():
    word = await read(files.docx_file(), "a.docx")
    assert [block.text for block in word.blocks] == ["续租须在到期前7天办理。", "车位：地下固定；月租：380元"]
    assert word.blocks[0].headings == ("停车管理规定", "1. 月租车位")
    assert await texts(files.xlsx_file(), "b.xlsx") == ["项目：物业费；单价：2.2\n项目：停车费；单价：380"]
    pdf = await read(files.pdf_file(), "c.pdf")
    assert (pdf.blocks[0].text, pdf.blocks[0].page) == ("Visitors park free for two hours.", 1)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "gbk", "utf-16"])
async def test_text_in_the_encodings_of_offices(encoding):
    text = "二期停水通知：十一月二十三日上午八点至十二点停水，请提前储水。"
    assert await texts(text.encode(encoding), "notice.txt") == [text]


@pytest.mark.parametrize(
    ("code", "name", "data"),
    [
        ("document_unpacks_too_large", "bomb.docx", files.bomb_docx()),
        ("document_broken", "entities.docx", files.entity_bomb_docx()),
        ("document_encrypted", "secret.pdf", files.encrypted_pdf()),
        ("document_encrypted", "secret.docx", reading.OLD_OFFICE + b"\x00" * 600),
        ("document_broken", "cut.pdf", b"%PDF-1.7\n" + b"\x00\x01garbage" * 50),
        ("document_broken", "cut.docx", files.docx_file()[:2000]),
        ("document_broken", "words.pdf", "其实是文本".encode()),
        ("document_type_mismatch", "table.docx", files.xlsx_file()),
        ("document_type_unsupported", "photo.jpg", b"\xff\xd8\xff\xe0\x00\x10JFIF\x00" + b"\x01" * 200),
        ("document_encoding_unknown", "noise.txt", bytes(range(1, 256)) * 20),
        ("document_header_invalid", "a.md", b"---\ntitle: [unclosed\n---\ntext"),
        ("document_empty", "blank.txt", b"   \n\n"),
        ("document_empty", "punctuation.pdf", files.pdf_file(" ")),
    ],
)
async def test_a_bad_file_is_refused_with_its_reason_within_seconds(code, name, data):
    started = time.monotonic()
    with pytest.raises(DocumentRefused) as refusal:
        await read(data, name)
    assert refusal.value.code == code
    assert time.monotonic() - started < 10


async def test_a_parser_that_eats_memory_or_time_dies_alone():
    small = SETTINGS.model_copy(update={"parser_memory_bytes": 60_000_000})
    with pytest.raises(DocumentRefused, match="memory or time"):
        await read("很长的一句话。\n\n".encode() * 600_000, "a.txt", small)
    hasty = SETTINGS.model_copy(update={"parser_seconds": 0.01})
    with pytest.raises(DocumentRefused, match="memory or time"):
        await read(files.docx_file(), "a.docx", hasty)
    assert await texts(files.docx_file(), "a.docx")


async def test_limits_on_bytes_and_characters():
    with pytest.raises(UploadTooLarge):
        await read(b"a" * 11, "a.txt", SETTINGS.model_copy(update={"upload_bytes_max": 10}))
    with pytest.raises(DocumentRefused) as refusal:
        await read("很长。".encode() * 100, "a.txt", SETTINGS.model_copy(update={"document_chars_max": 50}))
    assert (refusal.value.code, refusal.value.status) == ("document_too_long", 413)


def test_every_kind_has_a_parser_and_every_refusal_both_languages():
    assert set(PARSERS) == {"md", "txt", "html", "pdf", "docx", "xlsx"}
    assert all(en and zh for en, zh in REFUSALS.values())

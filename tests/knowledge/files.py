"""Files of every kind, good and hostile, made here so that none has to be kept."""

import io
import zipfile
import zlib

import docx
import openpyxl
from fpdf import FPDF
from pypdf import PdfReader, PdfWriter


def docx_file() -> bytes:
    document = docx.Document()
    document.add_heading("停车管理规定", level=1)
    document.add_heading("1. 月租车位", level=2)
    document.add_paragraph("续租须在到期前7天办理。")
    table = document.add_table(rows=2, cols=2)
    for cell, text in zip(table._cells, ["车位", "月租", "地下固定", "380元"], strict=True):
        cell.text = text
    return saved(document.save)


def xlsx_file() -> bytes:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.title = "收费"
    for row in (["项目", "单价"], ["物业费", 2.2], ["停车费", 380.0]):
        book.active.append(row)
    return saved(book.save)


def saved(save) -> bytes:
    output = io.BytesIO()
    save(output)
    return output.getvalue()


def pdf_file(text: str = "Visitors park free for two hours.") -> bytes:
    pdf = FPDF()
    pdf.add_page()
    pdf.set_font("helvetica", size=12)
    pdf.multi_cell(0, 8, text)
    return bytes(pdf.output())


def encrypted_pdf() -> bytes:
    writer = PdfWriter()
    writer.append(PdfReader(io.BytesIO(pdf_file())))
    writer.encrypt("secret", algorithm="RC4-128")
    return saved(writer.write)


def repacked(original: bytes, **changed: bytes) -> bytes:
    """A zip with some members replaced or added; `__` in a name stands for `/`, a single `_` for the dot."""
    output = io.BytesIO()
    names = {name.replace("__", "/").replace("_", "."): data for name, data in changed.items()}
    with zipfile.ZipFile(io.BytesIO(original)) as source, zipfile.ZipFile(output, "w", zipfile.ZIP_DEFLATED) as target:
        for item in source.infolist():
            if item.filename not in names:
                target.writestr(item.filename, source.read(item.filename))
        for name, data in names.items():
            target.writestr(name, data)
    return output.getvalue()


def bomb_docx() -> bytes:
    return repacked(docx_file(), word__document_xml=b"<a>" + b" " * 60_000_000 + b"</a>")


def entity_bomb_docx() -> bytes:
    """Small on disk and small unpacked; the blow-up is in the XML itself (billion laughs)."""
    entities = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 12))
    body = f'<?xml version="1.0"?><!DOCTYPE w [<!ENTITY l0 "haha">{entities}]><w>&l11;</w>'
    return repacked(docx_file(), word__document_xml=body.encode())


SHEET = b'<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>%s</sheetData></worksheet>'


def sheet_of(rows: bytes, *, before: bytes = b"") -> bytes:
    """An xlsx whose only sheet has these rows, as XML."""
    return repacked(xlsx_file(), xl__worksheets__sheet1_xml=before + SHEET % rows)


def million_cells() -> bytes:
    """Numbers that differ, so that it packs like an honest file."""
    cells = b"".join(b"<c><v>%d</v></c>" % (n * 7919 % 1_000_003) for n in range(1_001_000))
    return sheet_of(b"<row>" + cells + b"</row>")


def far_apart() -> bytes:
    """Few cells, each at the far end of its row."""
    return sheet_of(
        b"".join(b'<row r="%d"><c r="XFD%d"><v>1</v></c></row>' % (row, row) for row in range(1, 100_000, 50))
    )


def pdf_of(stream: bytes, *, pages: int = 1) -> bytes:
    """Pages that all show one compressed stream."""
    packed = zlib.compress(stream, 9)
    objects = [
        b"<</Type/Catalog/Pages 2 0 R>>",
        b"<</Type/Pages/Kids[%s]/Count %d>>" % (b"3 0 R " * pages, pages),
        b"<</Type/Page/Parent 2 0 R/MediaBox[0 0 99 99]/Contents 4 0 R/Resources<</Font<</F 5 0 R>>>>>>",
        b"<</Length %d/Filter/FlateDecode>>stream\n%s\nendstream" % (len(packed), packed),
        b"<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>",
    ]
    out, places = b"%PDF-1.7\n", []
    for number, body in enumerate(objects, start=1):
        places.append(len(out))
        out += b"%d 0 obj%sendobj\n" % (number, body)
    table = b"0000000000 65535 f \n" + b"".join(b"%010d 00000 n \n" % place for place in places)
    return out + b"xref\n0 6\n%strailer<</Size 6/Root 1 0 R>>\nstartxref\n%d\n%%%%EOF" % (table, len(out))


def reading_a_file_of_ours(secret: str) -> tuple[bytes, bytes]:
    """A docx and an xlsx that name a file of the server as an external entity."""
    entity = f'<!DOCTYPE w [<!ENTITY x SYSTEM "file://{secret}">]>'.encode()
    word = b"http://schemas.openxmlformats.org/wordprocessingml/2006/main"
    text = b'<w:document xmlns:w="%s"><w:body><w:p><w:r><w:t>a&x;b</w:t></w:r></w:p></w:body></w:document>' % word
    row = b'<row><c t="inlineStr"><is><t>a&x;b</t></is></c></row>'
    return repacked(docx_file(), word__document_xml=entity + text), sheet_of(row, before=entity)

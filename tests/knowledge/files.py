"""Files of every kind, good and hostile, made here so that none has to be kept."""

import io
import zipfile

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

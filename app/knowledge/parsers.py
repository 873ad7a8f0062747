"""Files to blocks. Runs in a child process with limits (see reading.py): a file may be a bomb or trip a parser."""

import io
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any

from app.knowledge.splitting import Block
from app.safety.packed import cell_text, cells_in

HEADING_MARKS = re.compile(
    r"^(第[一二三四五六七八九十百\d]+[章节条]|[一二三四五六七八九十]+、|（[一二三四五六七八九十]+）)\s*\S{0,30}$"
)
CELLS_MAX = 1_000_000
TAGS_MAX = 150_000
NESTING_MAX = 400
"""Pages that people write are rarely 50 deep; reading time grows with the depth of every element."""
TAG = re.compile(rb"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
NOT_NESTING = frozenset(
    b"area base br col embed hr img input link meta source track wbr "
    b"p li td th tr dd dt option thead tbody tfoot".split()
)
"""Tags without an end, and those that the next of their kind ends."""


class CannotParse(Exception):
    """`code` is one of reading.REFUSALS."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass
class Parsed:
    """What a file says. `header` is the YAML front matter of a Markdown file, as text."""

    blocks: list[Block]
    header: dict[str, Any] = field(default_factory=dict)


class Outline:
    """Collects blocks under the headings seen so far."""

    def __init__(self) -> None:
        self.blocks: list[Block] = []
        self._path: list[tuple[int, str]] = []

    def heading(self, level: int, text: str) -> None:
        text = " ".join(text.split())
        if text:
            self._path = [item for item in self._path if item[0] < level] + [(level, text[:200])]

    def add(self, text: str, *, table: bool = False, page: int | None = None) -> None:
        text = "\n".join(" ".join(line.split()) for line in text.splitlines() if line.strip())
        if text:
            self.blocks.append(Block(tuple(item[1] for item in self._path), text, table, page))

    def table(self, rows: Sequence[Sequence[str]], *, page: int | None = None) -> None:
        self.add(table_text(rows), table=True, page=page)


def table_text(rows: Sequence[Sequence[str]]) -> str:
    """Rows as "header: value" lines, so that a row found alone still says what its numbers are."""
    rows = [[" ".join(cell.split()) for cell in row] for row in rows]
    rows = [row for row in rows if any(row)]
    if len(rows) < 2:
        return "\n".join("；".join(cell for cell in row if cell) for row in rows)
    names, lines = rows[0], []
    for row in rows[1:]:
        cells = [f"{name}：{cell}" if name else cell for name, cell in zip(names, row, strict=False) if cell]
        cells += [cell for cell in row[len(names) :] if cell]
        lines.append("；".join(cells))
    return "\n".join(lines)


def decode(data: bytes) -> str:
    """Text of bytes in UTF-8, UTF-16, GB18030 or what charset-normalizer finds. Raises CannotParse."""
    for mark, name in ((b"\xef\xbb\xbf", "utf-8-sig"), (b"\xff\xfe", "utf-16"), (b"\xfe\xff", "utf-16")):
        if data.startswith(mark):
            try:
                return data.decode(name)
            except UnicodeDecodeError as error:
                raise CannotParse("document_encoding_unknown") from error
    for name in ("utf-8", "gb18030"):
        try:
            text = data.decode(name)
        except UnicodeDecodeError:
            continue
        if name == "utf-8" or _plausible_chinese(text):
            return text
    import charset_normalizer

    best = charset_normalizer.from_bytes(data, threshold=0.15).best()
    if best is None or _control_share(str(best)) > 0.01:
        raise CannotParse("document_encoding_unknown")
    return str(best)


def _plausible_chinese(text: str) -> bool:
    """GB18030 accepts almost any bytes, so what comes out must be mostly common characters (GB2312's rows)."""
    foreign = [char for char in text if ord(char) > 127]
    common = sum(1 for char in foreign if _in_gb2312(char))
    return bool(foreign) and common / len(foreign) > 0.9 and _control_share(text) < 0.01


def _in_gb2312(char: str) -> bool:
    try:
        return 0xA1 <= char.encode("gb2312")[0] <= 0xD7
    except UnicodeEncodeError:
        return False


def _control_share(text: str) -> float:
    return sum(1 for char in text if ord(char) < 32 and char not in "\t\r\n\f") / max(1, len(text))


def front_matter(text: str) -> tuple[dict[str, Any], str]:
    """The YAML header (empty when there is none) and the rest."""
    match = re.match(r"\A---[ \t]*\r?\n(.*?)\r?\n---[ \t]*(?:\r?\n|\Z)", text, re.DOTALL)
    if match is None:
        return {}, text
    import yaml

    try:
        header = yaml.safe_load(match.group(1))
    except (yaml.YAMLError, ValueError) as error:
        raise CannotParse("document_header_invalid") from error
    if not isinstance(header, dict):
        raise CannotParse("document_header_invalid")
    plain = {str(k): v.isoformat() if isinstance(v, date | datetime) else v for k, v in header.items()}
    return {k: v for k, v in plain.items() if isinstance(v, str | int | float | bool)}, text[match.end() :]


def parse_markdown(data: bytes) -> Parsed:
    from markdown_it import MarkdownIt

    header, body = front_matter(decode(data))
    outline = Outline()
    stream = MarkdownIt("commonmark", {"html": False}).enable("table").parse(body)
    rows: list[list[str]] = []
    level, in_table, marker = 0, False, ""
    for token in stream:
        if token.type == "heading_open":
            level = int(token.tag[1])
        elif token.type == "table_open":
            in_table, rows = True, []
        elif token.type == "tr_open":
            rows.append([])
        elif token.type == "table_close":
            in_table = False
            outline.table(rows)
        elif token.type == "list_item_open":
            marker = f"{token.info}. " if token.info else "- "
        elif token.type in ("fence", "code_block", "html_block"):
            outline.add(token.content)
        elif token.type == "inline":
            text = _inline_text(token)
            if in_table:
                rows[-1].append(text)
            elif level:
                outline.heading(level, text)
                level = 0
            else:
                outline.add(marker + text)
                marker = ""
    return Parsed(outline.blocks, header)


def _inline_text(token: Any) -> str:
    parts = []
    for child in token.children or []:
        if child.type in ("softbreak", "hardbreak"):
            parts.append("\n" if child.type == "hardbreak" else " ")
        elif child.type in ("text", "code_inline", "html_inline"):
            parts.append(child.content)
    return "".join(parts)


def parse_text(data: bytes) -> Parsed:
    outline = Outline()
    for paragraph in re.split(r"\n\s*\n|\f", decode(data).replace("\r\n", "\n")):
        for line in paragraph.splitlines():
            if HEADING_MARKS.match(line.strip()) and not line.strip().endswith(("。", "；", "，")):
                outline.heading(2 if line.strip().startswith("（") else 1, line)
            else:
                outline.add(line)
    return Parsed(outline.blocks)


def parse_html(data: bytes) -> Parsed:
    from bs4 import BeautifulSoup

    _check_tags(data)
    soup = BeautifulSoup(data, "lxml")
    for tag in soup(["script", "style", "nav", "footer", "noscript", "template", "svg", "iframe", "form"]):
        tag.decompose()
    outline = Outline()
    title = soup.title.get_text(strip=True) if soup.title else ""
    for tag in soup.find_all(["h1", "h2", "h3", "h4", "h5", "h6", "p", "li", "table", "pre", "blockquote", "dd", "dt"]):
        if tag.find_parent("table") is not None and tag.name != "table":
            continue
        if tag.name[0] == "h" and tag.name[1:].isdigit():
            outline.heading(int(tag.name[1]), tag.get_text(" ", strip=True))
        elif tag.name == "table":
            outline.table([[cell.get_text(" ", strip=True) for cell in row(["th", "td"])] for row in tag("tr")])
        elif tag.find(["p", "li", "table", "pre"]) is None:
            outline.add(tag.get_text(" ", strip=True))
    if not outline.blocks:
        outline.add(soup.get_text("\n", strip=True))
    return Parsed(outline.blocks, {"title": title} if title else {})


def _check_tags(data: bytes) -> None:
    """Raises CannotParse for pages that would keep a parser busy until its time is up."""
    depth = 0
    for tags, match in enumerate(TAG.finditer(data), start=1):
        if match[2].lower() not in NOT_NESTING:
            depth = max(0, depth - 1) if match[1] else depth + 1
        if tags > TAGS_MAX or depth > NESTING_MAX:
            raise CannotParse("document_too_heavy")


def parse_pdf(data: bytes) -> Parsed:
    from pypdf import PdfReader

    outline = Outline()
    try:
        reader = PdfReader(io.BytesIO(data))
        if reader.is_encrypted and not reader.decrypt(""):
            raise CannotParse("document_encrypted")
        for number, page in enumerate(reader.pages, start=1):
            for paragraph in _joined_lines(page.extract_text().splitlines()):
                if HEADING_MARKS.match(paragraph):
                    outline.heading(1, paragraph)
                else:
                    outline.add(paragraph, page=number)
    except CannotParse:
        raise
    except Exception as error:
        # pypdf lets anything through on damaged files, NotImplementedError for a filter that it does not know.
        raise CannotParse("document_broken") from error
    return Parsed(outline.blocks)


def _joined_lines(lines: Iterable[str]) -> Iterator[str]:
    """Paragraphs of a page: a line goes on into the next unless it ends a sentence or stands short."""
    held = ""
    for line in (line.strip() for line in lines):
        if not line or HEADING_MARKS.match(line):
            if held:
                yield held
            held = ""
            if line:
                yield line
            continue
        space = " " if held and held[-1].isascii() and line[0].isascii() else ""
        held += space + line
        if line.endswith(("。", "！", "？", ".", "!", "?", "；", "：", ":")):
            yield held
            held = ""
    if held:
        yield held


def parse_docx(data: bytes) -> Parsed:
    import docx
    from docx.table import Table

    outline = Outline()
    try:
        document = docx.Document(io.BytesIO(data))
        for item in document.iter_inner_content():
            if isinstance(item, Table):
                outline.table([[cell.text for cell in row.cells] for row in item.rows])
                continue
            style = (item.style.name if item.style is not None else "") or ""
            level = re.match(r"(?:Heading|标题) ?(\d)", style)
            if level or style == "Title":
                outline.heading(int(level.group(1)) if level else 1, item.text)
            else:
                outline.add(item.text)
    except CannotParse:
        raise
    except Exception as error:
        # python-docx lets lxml's, zipfile's and its own errors through; for the uploader they are all one.
        raise CannotParse("document_broken") from error
    return Parsed(outline.blocks)


def parse_xlsx(data: bytes) -> Parsed:
    import openpyxl

    outline = Outline()
    try:
        if cells_in(data) > CELLS_MAX:
            raise CannotParse("document_too_long")
        book = openpyxl.load_workbook(io.BytesIO(data), read_only=True, data_only=True)
        cells = 0
        for sheet in book.worksheets:
            outline.heading(1, sheet.title)
            rows = []
            for row in sheet.iter_rows(values_only=True):
                cells += len(row)
                if cells > CELLS_MAX:
                    raise CannotParse("document_too_long")
                rows.append([cell_text(value) for value in row])
            outline.table(rows)
    except CannotParse:
        raise
    except Exception as error:
        # As for docx.
        raise CannotParse("document_broken") from error
    return Parsed(outline.blocks)


PARSERS = {
    "md": parse_markdown,
    "txt": parse_text,
    "html": parse_html,
    "pdf": parse_pdf,
    "docx": parse_docx,
    "xlsx": parse_xlsx,
}

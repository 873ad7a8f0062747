"""What can be wrong with a cell of an imported sheet, in both languages."""

from app.people.background_jobs import Problem
from app.people.sheets import Column, Row

WORDS: dict[str, tuple[str, str]] = {
    "cell_missing": ("“{zh}”不能为空。", "{key} is missing."),
    "cell_too_long": ("“{zh}”超过 {limit} 个字。", "{key} has more than {limit} characters."),
    "cell_unknown": ("“{zh}”只能填写：{limit}。", "{key} has to be one of: {limit}."),
    "cell_not_a_number": ("“{zh}”应为 0 到 {limit} 之间的数字。", "{key} has to be a number up to {limit}."),
    "phone_invalid": ("“{zh}”只能包含数字、空格和 + - ( )。", "{key} holds digits, spaces and + - ( ) only."),
    "parent_missing": ("填写了下级房产，但“{zh}”为空。", "{key} is missing, though something below it is given."),
    "not_of_a_room": ("只有房间才有“{zh}”。", "Only a room has {key}."),
    "kind_differs": ("该位置已存在，但类型不是“{zh}”。", "It exists already and is no {key}."),
    "row_repeated": ("与第 {limit} 行重复。", "Line {limit} says it already."),
    "room_unknown": ("没有这个房间：{limit}。", "There is no such room: {limit}."),
    "resident_unknown": ("没有编号为该值的住户。", "There is no resident with this id."),
    "item_unknown": ("没有编号为该值的项目。", "There is no item with this id."),
    "time_invalid": ("“{zh}”不是有效时间，例如 2026-11-28 14:00。", "{key} is no time, such as 2026-11-28 14:00."),
    "time_in_future": ("“{zh}”晚于现在。", "{key} lies ahead."),
    "ends_before_it_begins": ("结束早于开始。", "It ends before it begins."),
    "household_ambiguous": (
        "该房间有多个家庭，请在系统中指明。",
        "This room has several households: say which, by hand.",
    ),
}
"""By code. `zh` and `key` name the column, `limit` what the code is about."""


def problem(row: Row, column: Column, code: str, limit: object = "") -> Problem:
    zh, en = (words.format(zh=column.zh, key=column.key, limit=limit) for words in WORDS[code])
    return Problem(row.line, column.zh, row.cells.get(column.key, ""), code, zh, en)

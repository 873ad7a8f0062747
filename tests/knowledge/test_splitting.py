from hypothesis import given, strategies

from app.knowledge.language import Language, language_of, text_width
from app.knowledge.splitting import Block, sentences, split


def told(text: str) -> list[str]:
    return [text[start:end] for start, end in sentences(text)]


def test_sentences_of_both_languages_with_their_offsets():
    assert told("月租350元。超时每小时5元！好吗？") == ["月租350元。", "超时每小时5元！", "好吗？"]
    assert told("Mr. Li pays 3.5 yuan. Open 8:30-18:00. No. 9 is shut.") == [
        "Mr. Li pays 3.5 yuan.", "Open 8:30-18:00.", "No. 9 is shut.",
    ]  # fmt: skip
    assert told("他说“可以。”然后走了。") == ["他说“可以。”", "然后走了。"]


def test_a_long_section_is_cut_at_sentence_ends_and_a_table_at_rows():
    prose = Block(("规定",), "这是一句十个字的话啊。" * 60)
    table = Block(("价格",), "\n".join(f"项目：第{n}项；单价：{n}元" for n in range(80)), table=True)
    pieces = split([prose, table], width_max=100)
    assert all(text_width(piece.text) <= 100 for piece in pieces)
    assert all(piece.text.endswith("。") for piece in pieces if piece.headings == ("规定",))
    rows = [line for piece in pieces if piece.headings == ("价格",) for line in piece.text.splitlines()]
    assert rows == table.text.splitlines()


def test_sections_are_not_mixed():
    pieces = split([Block(("甲",), "一。"), Block(("甲",), "二。"), Block(("乙",), "三。")], width_max=400)
    assert [(piece.headings, piece.text) for piece in pieces] == [(("甲",), "一。\n二。"), (("乙",), "三。")]


@given(strategies.text(alphabet="停车费。！abc. \n；1", max_size=400))
def test_no_letter_is_lost(text):
    kept = "".join(piece.text for piece in split([Block((), text)], width_max=40))
    assert [char for char in kept if char.isalnum()] == [char for char in text if char.isalnum()]


def test_language_by_the_share_of_letters():
    assert language_of("Wi-Fi 密码是多少") is Language.ZH
    assert language_of("What is the 物业费?") is Language.EN
    assert language_of("12345") is Language.ZH

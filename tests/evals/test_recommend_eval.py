"""`linli eval recommend` on files as they come: formats, bad lines by number, protocols, a given split."""

import json

import numpy as np
import pytest
from typer.testing import CliRunner

from app.evals import interactions
from app.evals.commands import evals
from app.evals.lines import BadLine, NothingToAsk

LINES = {
    "header.csv": "userId,movieId,rating,timestamp\na,1,5,10\na,2,3,2026-01-01\nb,1,4,12\n",
    "plain.csv": "a,1,5,10\na,2,3,11\nb,1,4,12\n",
    "ratings.dat": "a::1::5::10\na::2::3::11\nb::1::4::12\n",
    "tabs.tsv": "a\t1\t5\t10\na\t2\t3\t11\nb\t1\t4\t12\n",
}


@pytest.mark.parametrize("name", LINES)
def test_the_usual_forms_of_a_file_are_read(tmp_path, name):
    path = tmp_path / name
    path.write_text(LINES[name], encoding="utf-8")
    events = interactions.read(path)
    assert events.users.tolist() == ["a", "a", "b"]
    assert events.items.tolist() == ["1", "2", "1"]
    assert events.times is not None
    assert len(interactions.read(path, rating_min=4)) == 2
    assert len(interactions.read(path, limit=2)) == 2
    assert len(interactions.read(path, limit=2, seed=3)) == 2


def test_a_user_and_their_items_a_line_and_files_without_times_are_read(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("0 5 6 7\n1 6\n2\n", encoding="utf-8")
    events = interactions.read(path)
    assert list(zip(events.users, events.items, strict=True)) == [("0", "5"), ("0", "6"), ("0", "7"), ("1", "6")]
    assert events.times is None
    path.write_text("人,商品\nx,y\n", encoding="utf-8")
    assert len(interactions.read(path)) == 2


@pytest.mark.parametrize(
    ("text", "number"),
    [
        ("a,1,5,10\nb,2,good,11\n", 2),
        ("a,1,5,10\n\nb,2,4,yesterday\n", 3),
        ("a,1,5,10\nb\n", 2),
        ("a,1,5,10\n,2,4,11\n", 2),
        ("a,1,5,10\nb,2,nan,11\n", 2),
        ("a,1,5,10\nb,2,4\n", 2),
        ("a,1,5,10\nb," + "x" * 300 + ",4,11\n", 2),
        ("user,rating\na,1\n", 1),
    ],
)
def test_a_bad_line_is_named_by_its_number(tmp_path, text, number):
    path = tmp_path / "events.csv"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(BadLine, match=f"line {number}:"):
        interactions.read(path)


def test_an_empty_file_and_a_wrong_encoding_are_told(tmp_path):
    path = tmp_path / "events.csv"
    path.write_text("user,item\n", encoding="utf-8")
    with pytest.raises(NothingToAsk):
        interactions.read(path)
    path.write_bytes(b"a,1\nb,\xff\xfe\n")
    with pytest.raises(BadLine, match="line 2:"):
        interactions.read(path)


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    random = np.random.default_rng(0)
    rows = [f"u{who},{random.zipf(1.5) % 20 + who % 2 * 20},1,{when}" for when, who in
            enumerate(random.integers(0, 80, 1600))]  # fmt: skip
    path = tmp_path_factory.mktemp("recommend") / "events.csv"
    path.write_text("\n".join(rows) + "\n", encoding="utf-8")
    return path


@pytest.mark.parametrize("protocol", ["random", "leave-one-out", "temporal"])
def test_the_command_prints_every_recommender_and_writes_figures_and_lists(file, tmp_path, protocol):
    out = tmp_path / "out.json"
    done = CliRunner().invoke(
        evals, ["recommend", str(file), "--protocol", protocol, "--json", str(out), "--seed", "5"]
    )
    assert done.exit_code == 0, done.output
    for name in ("blend", "neighbours", "ease", "factors", "sequence", "popularity", "ItemKNN", "implicit ALS", "EASE"):
        assert name in done.output
    told = json.loads(out.read_text())
    figures = told["summary"]["all"]
    assert set(figures["blend"]) >= {"ndcg@10", "recall@20", "mrr", "coverage", "novelty", "fit_seconds"}
    assert figures["blend"]["ndcg@10"] > 1.3 * figures["popularity"]["ndcg@10"]
    assert told["settings"]["protocol"] == protocol
    assert told["settings"]["asked_users"] == len(told["rows"])
    assert all(len(row["first"]) == 10 for row in told["rows"])


def test_a_given_split_is_taken_as_it_is_and_wrong_calls_are_refused(file, tmp_path):
    train, test = tmp_path / "train.txt", tmp_path / "test.txt"
    train.write_text("\n".join(f"{user} {' '.join(map(str, range(user % 3, 12, 2)))}" for user in range(12)))
    test.write_text("\n".join(f"{user} {user % 3 + 1} 99" for user in range(13)))
    runner = CliRunner()
    done = runner.invoke(evals, ["recommend", "--train", str(train), "--test", str(test)])
    assert done.exit_code == 0, done.output
    assert "12 users asked about" in done.output
    for wrong in ([], ["--train", str(train)], [str(file), "--practice"], [str(file), "--protocol", "sampled"]):
        assert runner.invoke(evals, ["recommend", *wrong]).exit_code == 2
    plain = tmp_path / "plain.csv"
    plain.write_text("a,1\nb,2\n")
    assert runner.invoke(evals, ["recommend", str(plain), "--protocol", "temporal"]).exit_code == 2

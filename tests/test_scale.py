"""What make scale stored, and the parts of it that need no Spark."""

import copy
import json
from types import SimpleNamespace

import pandas as pd
import pytest
import torch

import mflib
from bench import scale, spark

RESULTS = scale.load()


@pytest.fixture
def ratings():
    users, items = [0, 0, 1, 2, 2], [0, 3, 1, 0, 2]
    return mflib.Ratings(users, items, [1.0, 2, 3, 4, 5], n_users=4, n_items=4)


def test_stored_results_hold_what_the_chapter_says():
    scale.check(RESULTS)
    assert RESULTS["setting"]["master"] == "local-cluster[2,1,1024]"
    assert RESULTS["large"]["n"] == 1_000_000
    text = json.dumps(RESULTS, indent=1, ensure_ascii=False) + "\n"
    assert scale.RESULTS.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    ("part", "name", "value"),
    [
        ("small", "J", 1.01 * RESULTS["small"]["J"]),
        ("small", "difference", 1e-4),
        ("small", "mean error", [0.01, 0.02]),
        ("small", "cold", [3.5]),
        ("large", "executors", 1),
        ("large", "J", [1.0, 1.001]),
        ("wide ids", None, "no error"),
        ("no checkpoints", None, "no error"),
    ],
)
def test_other_results_are_refused(part, name, value):
    changed = copy.deepcopy(RESULTS)
    if name is None:
        changed[part] = value
    else:
        changed[part][name] = value
    with pytest.raises(AssertionError):
        scale.check(changed)


def test_vectors_moved_counts_each_row_once_a_block(ratings):
    # In two blocks of items, even and odd: user 0 is needed in both, 1 and 2 in one.
    # In two blocks of users: item 0 is needed by users 0 and 2, in one block.
    assert scale.vectors_moved(ratings, 2) == (2 + 1 + 1) + 4
    assert scale.vectors_moved(ratings, 1) == 3 + 4
    assert scale.vectors_moved(ratings, 100) == 2 * len(ratings)


def test_centring_leaves_no_mean_and_the_sizes(ratings):
    centred = scale.centred(ratings)
    assert centred.values.sum().item() == pytest.approx(0)
    assert (centred.n_users, centred.n_items) == (4, 4)


def test_our_process_has_no_executors():
    assert scale.executors() == set()


class FakeFrame:
    """A DataFrame of Spark's, as far as the adapters need one."""

    def __init__(self, table):
        self.table = table

    def select(self, *names):
        return FakeFrame(self.table[list(names)])

    def toPandas(self):
        return self.table

    def collect(self):
        return self.table.to_dict("records")


def test_ratings_come_back_from_spark(ratings):
    session = SimpleNamespace(createDataFrame=FakeFrame)
    frame = spark.to_spark(session, ratings)
    assert list(map(str, frame.table.dtypes)) == ["int32", "int32", "float32"]
    back = spark.from_spark(frame, ratings.n_users, ratings.n_items)
    assert torch.equal(back.users, ratings.users)
    assert torch.equal(back.items, ratings.items)
    assert back.values.tolist() == ratings.values.tolist()


def test_a_model_of_spark_becomes_an_mf():
    def factors(ids):
        rows = {"id": ids, "features": [[float(i), 2.0] for i in ids]}
        return FakeFrame(pd.DataFrame(rows))

    model = SimpleNamespace(
        rank=2, userFactors=factors([0, 2]), itemFactors=factors([1])
    )
    fitted = spark.to_mf(model, n_users=3, n_items=2, mean=3.0)
    pairs = torch.tensor([[0, 1], [2, 1], [1, 1], [2, 0]]).T
    assert fitted(*pairs).tolist() == [7.0, 9.0, 3.0, 3.0]


def test_java_is_asked_for_by_name(monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("JAVA_HOME", raising=False)
    assert "default-jre-headless" in spark.java_is_missing()
    java = tmp_path / "bin" / "java"
    java.parent.mkdir()
    java.touch()
    java.chmod(0o700)
    monkeypatch.setenv("JAVA_HOME", str(tmp_path))
    assert spark.java_is_missing() == ""


def test_make_scale_stops_without_java(monkeypatch, capsys):
    monkeypatch.setattr(scale, "java_is_missing", lambda: "no Java")
    assert scale.main() == 1
    assert capsys.readouterr().err == "no Java\n"


def test_what_ends_a_fit_is_named():
    def overflows():
        raise RuntimeError("job failed: java.lang.StackOverflowError\n at …")

    def refused():
        raise ValueError("\nid is too large\nmore")

    assert scale.reason(overflows) == "java.lang.StackOverflowError"
    assert scale.reason(refused) == "id is too large"
    assert scale.reason(lambda: None) == "no error"

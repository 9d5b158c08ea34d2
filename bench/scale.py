"""Fit by Spark's ALS in two executor processes, and kill one: make scale.

python -m bench.scale makes Spark's environment, and goes on in there. Writes
bench/scale.json.
"""

from __future__ import annotations

import datetime
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import torch

import mflib

from . import environments
from .data import synthetic
from .spark import from_spark, java_is_missing, session, to_mf, to_spark

RESULTS = Path(__file__).parent / "scale.json"
MASTER = "local-cluster[2,1,1024]"  # workers, cores of each, megabytes of each
RANK, REG, BLOCKS = 8, 0.15, 4
SMALL, LARGE = 100_000, 1_000_000
SWEEPS = {SMALL: 40, LARGE: 10}


def load() -> dict[str, Any]:
    """Return what the last run stored."""
    found: dict[str, Any] = json.loads(RESULTS.read_text(encoding="utf-8"))
    return found


def small_ratings() -> tuple[str, mflib.Ratings]:
    """Return MovieLens latest-small, or as many synthetic ratings without it."""
    try:
        return "MovieLens latest-small", mflib.fetch_movielens()[0]
    except OSError as error:
        print(f"Synthetic ratings, MovieLens is not at hand: {error}", flush=True)
        return "synthetic", synthetic_ratings(SMALL)


def synthetic_ratings(size: int) -> mflib.Ratings:
    """Return the benchmark's synthetic ratings."""
    made = synthetic(size)
    triples = (made[f"train_{part}"] for part in ("users", "items", "values"))
    sizes = {name: int(made[name]) for name in ("n_users", "n_items")}
    return mflib.Ratings(*triples, **sizes)


def centred(ratings: mflib.Ratings) -> mflib.Ratings:
    """Return ratings less their mean: Spark's ALS has neither mean nor biases."""
    values = ratings.values.double() - ratings.values.double().mean()
    sizes = {"n_users": ratings.n_users, "n_items": ratings.n_items}
    return mflib.Ratings(ratings.users, ratings.items, values, **sizes)


def vectors_moved(ratings: mflib.Ratings, blocks: int) -> int:
    """Return how many factor vectors a sweep of block ALS sends.

    Each row goes once to every block of the other side that rated it, or was rated.
    """
    user, item = ratings.users.numpy(), ratings.items.numpy()
    to_items = np.unique(user * blocks + item % blocks)
    to_users = np.unique(item * blocks + user % blocks)
    return len(to_items) + len(to_users)


def J(model: Any, ratings: mflib.Ratings) -> float:
    """Return S7's J, weighted by count, of a model of Spark's."""
    fitted = to_mf(model, ratings.n_users, ratings.n_items).double()
    return mflib.objective(fitted, ratings, 0.0, lam_per_rating=2 * REG).item()


def mean_error(model: Any, ratings: mflib.Ratings) -> float:
    """Return the mean of the training ratings less their predictions."""
    fitted = to_mf(model, ratings.n_users, ratings.n_items).double()
    with torch.no_grad():
        predicted = fitted(ratings.users, ratings.items)
    return (ratings.values - predicted).mean().item()


# -- the cluster -----------------------------------------------------------------------


def executors() -> set[int]:
    """Return the processes of our own executors; the workers are in the driver's."""
    listed = subprocess.run(
        ["ps", "-eo", "pid=,ppid=,args="],  # noqa: S607 -- wherever it is
        capture_output=True,
        text=True,
        check=True,
    )
    lines = (line.split(maxsplit=2) for line in listed.stdout.splitlines())
    processes = {int(pid): (int(parent), args) for pid, parent, args in lines}

    def ours(pid: int) -> bool:
        while pid in processes and pid != os.getpid():
            pid = processes[pid][0]
        return pid == os.getpid()

    kind = "CoarseGrainedExecutorBackend"
    return {pid for pid, (_, args) in processes.items() if kind in args and ours(pid)}


class Watch(threading.Thread):
    """Notes the last stage that has begun; kills an executor at one, if told so."""

    def __init__(self, spark: Any, kill_at: int | None = None) -> None:
        super().__init__(daemon=True)
        self.tracker = spark.sparkContext.statusTracker()
        self.kill_at, self.killed = kill_at, 0
        self.stage, self.over = 0, False

    def run(self) -> None:
        """Look every twentieth of a second."""
        while not self.over:
            self.stage = max([self.stage, *self.tracker.getActiveStageIds()])
            if self.kill_at is not None and self.stage >= self.kill_at:
                self.kill_at, self.killed = None, min(executors())
                os.kill(self.killed, signal.SIGKILL)
            time.sleep(0.05)


@contextmanager
def watched(spark: Any, kill_at: int | None = None) -> Iterator[Watch]:
    """Watch the stages of what happens inside."""
    watch = Watch(spark, kill_at)
    watch.start()
    try:
        yield watch
    finally:
        watch.over = True
        watch.join()


def shuffled(spark: Any) -> int:
    """Return how many bytes all stages so far have written for others to read."""
    jvm, sc = spark.sparkContext._jvm, spark.sparkContext._jsc.sc()
    none = jvm.java.util.ArrayList()
    quantiles = spark.sparkContext._gateway.new_array(jvm.double, 0)
    stages = sc.statusStore().stageList(none, False, False, quantiles, none)
    return sum(stages.apply(i).shuffleWriteBytes() for i in range(stages.size()))


def bytes_a_sweep(spark: Any, frame: Any, sweeps: int, moved: int) -> int:
    """Return what a sweep moves, given what a whole fit did.

    A fit of one sweep also brings the ratings into blocks, as each fit does first.
    """
    before = shuffled(spark)
    als(spark, 1).fit(frame)
    return round((moved - (shuffled(spark) - before)) / (sweeps - 1))


def als(spark: Any, sweeps: int, **more: Any) -> Any:
    """Return Spark's estimator with this page's settings."""
    from pyspark.ml.recommendation import ALS

    settings = {"rank": RANK, "regParam": REG, "maxIter": sweeps, "seed": 0} | more
    settings |= {"numUserBlocks": BLOCKS, "numItemBlocks": BLOCKS}
    return ALS(**{"checkpointInterval": 5} | settings)


# -- what is run -----------------------------------------------------------------------


def same_answer(spark: Any) -> dict[str, Any]:
    """Fit the small ratings, and compare with mflib.als and with the MF made of it."""
    name, raw = small_ratings()
    ratings = centred(raw)
    frame = to_spark(spark, ratings).cache()
    back = from_spark(frame, ratings.n_users, ratings.n_items)
    assert torch.equal(back.users, ratings.users)
    before, start = shuffled(spark), time.perf_counter()
    model = als(spark, SWEEPS[SMALL]).fit(frame)
    seconds = time.perf_counter() - start
    moved = bytes_a_sweep(spark, frame, SWEEPS[SMALL], shuffled(spark) - before)
    fitted = to_mf(model, ratings.n_users, ratings.n_items)
    predicted = model.transform(frame).select("user", "item", "prediction").toPandas()
    pairs = (torch.from_numpy(predicted[x].to_numpy()).long() for x in ("user", "item"))
    with torch.no_grad():
        ours = fitted(*pairs).numpy()
    ours_J = []
    for seed in range(5):
        _, history = mflib.als(
            ratings,
            rank=RANK,
            lam=0.0,
            lam_per_rating=2 * REG,
            sweeps=SWEEPS[SMALL],
            generator=mflib.seeded(seed),
        )
        ours_J.append(round(float(history["objective"].iloc[-1]), 1))
    uncentred = als(spark, 10).fit(to_spark(spark, raw))
    means = [mean_error(model, ratings), mean_error(uncentred, raw)]
    unknown = spark.createDataFrame([(ratings.n_users, 0)], "user int, item int")
    cold = model.transform(unknown).toPandas()["prediction"]
    dropped = model.copy().setColdStartStrategy("drop").transform(unknown).count()
    return {
        "ratings": name,
        "n": len(ratings),
        "n_users": ratings.n_users,
        "n_items": ratings.n_items,
        "sweeps": SWEEPS[SMALL],
        "seconds": round(seconds, 1),
        "J": round(J(model, ratings), 1),
        "als": sorted(ours_J),
        "difference": float(f"{np.abs(ours - predicted['prediction']).max():.1g}"),
        "mean error": [float(f"{mean:.3g}") for mean in means],
        "cold": ["NaN" if x != x else x for x in cold],
        "cold, dropped": dropped,
        "bytes a sweep": moved,
        "vectors": vectors_moved(ratings, BLOCKS),
    }


def wide_ids(spark: Any) -> str:
    """Return what Spark says of an id beyond 32 bits."""
    frame = spark.createDataFrame(
        [(2**31, 0, 1.0)], "user long, item int, rating float"
    )
    return reason(lambda: als(spark, 1).fit(frame))


def long_lineage(spark: Any) -> str:
    """Return what Spark says of many sweeps without a checkpoint.

    Its own interval, 10, does the same where no directory is set.
    """
    frame = to_spark(spark, centred(synthetic_ratings(SMALL)))
    return reason(lambda: als(spark, 150, checkpointInterval=-1).fit(frame))


def reason(fit: Any) -> str:
    """Return the name of the Java error that a fit ends with, and its first words."""
    try:
        with redirect_stderr(StringIO()):
            fit()
    except Exception as error:  # what Spark raises is Py4J's or its own
        text = str(error)
        if "StackOverflowError" in text:
            return "java.lang.StackOverflowError"
        return text.strip().splitlines()[0][:160]
    return "no error"


def killed_executor(spark: Any) -> dict[str, Any]:
    """Fit the large ratings twice, the second time with a kill in the middle."""
    ratings = centred(synthetic_ratings(LARGE))
    frame = to_spark(spark, ratings).repartition(BLOCKS).cache()
    frame.count()
    sweeps, before, moved = SWEEPS[LARGE], executors(), shuffled(spark)
    with watched(spark) as calm:
        first = spark.sparkContext._jsc.sc().dagScheduler().nextStageId()
        start = time.perf_counter()
        undisturbed = J(als(spark, sweeps).fit(frame), ratings)
        seconds = time.perf_counter() - start
    moved, last = shuffled(spark) - moved, calm.stage
    begin = spark.sparkContext._jsc.sc().dagScheduler().nextStageId()
    with watched(spark, kill_at=begin + (last - first) // 2) as watch:
        start = time.perf_counter()
        disturbed = J(als(spark, sweeps).fit(frame), ratings)
        longer = time.perf_counter() - start
    after = executors()
    moved = bytes_a_sweep(spark, frame, sweeps, moved)
    assert watch.killed in before - after
    vectors = vectors_moved(ratings, BLOCKS)
    return {
        "n": len(ratings),
        "n_users": ratings.n_users,
        "n_items": ratings.n_items,
        "sweeps": sweeps,
        "executors": len(before),
        "seconds": [round(seconds, 1), round(longer, 1)],
        "J": [round(undisturbed, 1), round(disturbed, 1)],
        "bytes a sweep": moved,
        "vectors": vectors,
    }


RUNS = {
    "small": same_answer,
    "large": killed_executor,
    "wide ids": wide_ids,
    "no checkpoints": long_lineage,
}


def main() -> int:
    """Make the environment, and run everything there."""
    if missing := java_is_missing() or environments.make("pyspark"):
        print(missing, file=sys.stderr)
        return 1
    command = [environments.python("pyspark"), "-m", "bench.scale", "--inside"]
    return subprocess.run(command, cwd=environments.ROOT).returncode


def run_all() -> int:
    """Run everything in one cluster, and store what happened."""
    torch.set_default_dtype(torch.float64)
    started = time.perf_counter()
    settings = {
        "spark__shuffle__compress": "false",
        "spark__ui__retainedStages": "9999",
    }
    with (
        tempfile.TemporaryDirectory() as folder,
        session(MASTER, folder, **settings) as spark,
    ):
        java = spark.sparkContext._jvm.java.lang.System.getProperty("java.version")
        results: dict[str, Any] = {
            "date": datetime.date.today().isoformat(),
            "versions": {"Spark": spark.version, "Java": java},
            "setting": {"master": MASTER, "rank": RANK, "reg": REG, "blocks": BLOCKS},
        }
        print(results, flush=True)
        for name, run in RUNS.items():
            results[name] = run(spark)
            print(f"{name}: {results[name]}", flush=True)
    results["seconds"] = round(time.perf_counter() - started)
    check(results)
    text = json.dumps(results, indent=1, ensure_ascii=False) + "\n"
    RESULTS.write_text(text, encoding="utf-8")
    print(f"All as the book says, in {results['seconds']} seconds.")
    return 0


def check(results: dict[str, Any]) -> None:
    """Hold the results to what the chapter says of them."""
    small, large = results["small"], results["large"]
    low, high = small["als"][0], small["als"][-1]
    assert 0.9995 * high < small["J"] < 1.0005 * low, small
    assert small["difference"] < 1e-5
    near, far = small["mean error"]
    assert far > 10 * abs(near)
    assert (small["cold"], small["cold, dropped"]) == (["NaN"], 0)
    calm, killed = large["J"]
    assert abs(killed / calm - 1) < 1e-6, large
    assert large["executors"] == 2
    assert results["no checkpoints"].endswith("StackOverflowError")
    assert results["wide ids"] != "no error"


if __name__ == "__main__":
    sys.exit(run_all() if "--inside" in sys.argv else main())

"""Ratings to Spark and back, and a model of Spark's ALS as an MF."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pandas as pd
import torch

import mflib

NO_JAVA = (
    "Spark needs Java 17 or newer, and there is no java on the PATH or in JAVA_HOME. "
    "On Debian or Ubuntu: apt-get install default-jre-headless; elsewhere: "
    "https://adoptium.net"
)


def java_is_missing() -> str:
    """Return what to say when there is no Java, or nothing."""
    home = os.environ.get("JAVA_HOME")
    found = (home and shutil.which("java", path=f"{home}/bin")) or shutil.which("java")
    return "" if found else NO_JAVA


@contextmanager
def session(master: str, folder: str, **settings: str) -> Iterator[Any]:
    """Start Spark, with all its files in a folder, and stop it at the end.

    ``settings`` are Spark's, with a double underscore for each dot.
    """
    from pyspark.sql import SparkSession

    if missing := java_is_missing():
        raise SystemExit(missing)
    os.environ["PYSPARK_PYTHON"] = sys.executable
    builder = SparkSession.builder.master(master).appName("mflib")
    fixed = {
        "spark.ui.enabled": "false",
        "spark.ui.showConsoleProgress": "false",
        "spark.driver.host": "127.0.0.1",
        "spark.driver.bindAddress": "127.0.0.1",
        "spark.local.dir": folder,
        "spark.sql.warehouse.dir": f"{folder}/warehouse",
        "spark.log.level": "OFF",
        "spark.sql.execution.arrow.pyspark.enabled": "true",
    }
    fixed |= {name.replace("__", "."): value for name, value in settings.items()}
    for name, value in fixed.items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    spark.sparkContext.setCheckpointDir(f"{folder}/checkpoints")
    try:
        yield spark
    finally:
        spark.stop()


def to_spark(spark: Any, ratings: mflib.Ratings) -> Any:
    """Return ratings as a DataFrame, in the columns that Spark's ALS looks for."""
    triples = (ratings.users, ratings.items, ratings.values)
    names, types = ("user", "item", "rating"), ("int32", "int32", "float32")
    columns = zip(names, triples, types, strict=True)
    frame = {name: part.numpy().astype(kind) for name, part, kind in columns}
    return spark.createDataFrame(pd.DataFrame(frame))


def from_spark(frame: Any, n_users: int, n_items: int) -> mflib.Ratings:
    """Return the ratings of such a DataFrame."""
    columns = frame.select("user", "item", "rating").toPandas()
    triples = (columns[name].to_numpy() for name in columns)
    return mflib.Ratings(*triples, n_users=n_users, n_items=n_items)


def to_mf(model: Any, n_users: int, n_items: int, mean: float = 0.0) -> mflib.MF:
    """Return what Spark's ALS has fitted as an MF; ``mean`` was taken off before."""
    fitted = mflib.MF(n_users, n_items, model.rank, mean=mean, init_std=0.0)
    sides = (fitted.U, model.userFactors), (fitted.V, model.itemFactors)
    with torch.no_grad():
        for table, factors in sides:
            for row in factors.collect():
                table.weight[row["id"]] = torch.tensor(row["features"])
    return fitted

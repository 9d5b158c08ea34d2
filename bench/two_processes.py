"""The lecture's loop in two processes; the chapter starts it with torchrun.

It prints, as JSON, how far the factors are from those of one process, and how many
numbers each process hands over in a step, to be summed. A ring of W processes sends
2 (W - 1) / W times as many from each: the same number only for two.
"""

from __future__ import annotations

import json
import os
import sys
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.algorithms.ddp_comm_hooks.default_hooks import allreduce_hook
from torch.nn.parallel import DistributedDataParallel

import mflib

STEPS, RANK = 50, 16
LOOPBACK = {"linux": "lo", "darwin": "lo0"}
ADAM = {"lr": 0.01, "weight_decay": 1e-3}


def ratings_and_model() -> tuple[mflib.Ratings, mflib.MF]:
    """Return the same ratings and the same start in every process."""
    ratings, _ = mflib.make_low_rank_ratings(
        300,
        200,
        rank=4,
        density=0.2,
        tau=0.7,
        sigma=0.5,
        popularity="power-law",
        generator=mflib.seeded(0),
    )
    return ratings, mflib.MF(300, 200, RANK, generator=mflib.seeded(1))


def my_users(ratings: mflib.Ratings) -> mflib.Ratings:
    """Return the ratings of this process's users: its block of rows."""
    size = -(-ratings.n_users // dist.get_world_size())
    return ratings.subset(ratings.users // size == dist.get_rank())


def one_process(ratings: mflib.Ratings, model: nn.Module) -> nn.Module:
    """Train as the lecture does."""
    optimizer, criterion = torch.optim.Adam(model.parameters(), **ADAM), nn.MSELoss()
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = criterion(model(ratings.users, ratings.items), ratings.values)
        loss.backward()
        optimizer.step()
    return model


def data_parallel(ratings: mflib.Ratings, model: nn.Module, scaled: bool) -> int:
    """Train with the ratings shared out; return how many numbers a step sums."""
    mine, summed = my_users(ratings), []
    share = dist.get_world_size() * len(mine) / len(ratings) if scaled else 1.0

    def hook(_, bucket):  # as DDP does by itself, and counts
        summed.append(bucket.buffer().numel())
        return allreduce_hook(None, bucket)

    parallel = DistributedDataParallel(model)
    parallel.register_comm_hook(None, hook)
    optimizer, criterion = torch.optim.Adam(model.parameters(), **ADAM), nn.MSELoss()
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = criterion(parallel(mine.users, mine.items), mine.values)
        (share * loss).backward()  # each process averages over its own ratings
        optimizer.step()
    return sum(summed) // STEPS


def sharded(ratings: mflib.Ratings, model: mflib.MF) -> tuple[mflib.MF, int]:
    """Train with U shared out too; only the gradient of V is added up."""
    mine, summed = my_users(ratings), 0
    first, last = int(mine.users.min()), int(mine.users.max())
    own = mflib.MF(last - first + 1, ratings.n_items, RANK)
    with torch.no_grad():
        own.U.weight[:] = model.U.weight[first : last + 1]
        own.V.weight[:] = model.V.weight
    optimizer, criterion = torch.optim.Adam(own.parameters(), **ADAM), nn.MSELoss()
    for _ in range(STEPS):
        optimizer.zero_grad()
        loss = criterion(own(mine.users - first, mine.items), mine.values)
        (len(mine) / len(ratings) * loss).backward()
        dist.all_reduce(own.V.weight.grad)
        summed += own.V.weight.grad.numel()
        optimizer.step()
    with torch.no_grad():
        model.U.weight[first : last + 1] = own.U.weight
        model.V.weight[:] = own.V.weight
    return model, summed // STEPS


def apart(
    model: mflib.MF, other: mflib.MF, rows: Tensor | slice = slice(None)
) -> float:
    """Return the largest difference of two models' factors, over all processes."""
    u = (model.U.weight - other.U.weight)[rows].abs().max()
    v = (model.V.weight - other.V.weight).abs().max()
    largest = torch.maximum(u, v).detach()
    dist.all_reduce(largest, op=dist.ReduceOp.MAX)
    return largest.item()


def main() -> None:
    """Train in all three ways, and print what was found."""
    if sys.platform in LOOPBACK:
        os.environ.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK[sys.platform])
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    dist.init_process_group("gloo")
    ratings, alone = ratings_and_model()
    one_process(ratings, alone)
    found: dict[str, Any] = {"processes": dist.get_world_size()}
    for name, scaled in (("data parallel", True), ("unscaled", False)):
        _, model = ratings_and_model()
        numbers = data_parallel(ratings, model, scaled)
        found[name] = {"difference": apart(model, alone), "numbers": numbers}
    _, model = ratings_and_model()
    model, numbers = sharded(ratings, model)
    rows = my_users(ratings).users.unique()
    found["sharded"] = {"difference": apart(model, alone, rows), "numbers": numbers}
    counts = torch.zeros(dist.get_world_size(), dtype=torch.long)
    counts[dist.get_rank()] = len(my_users(ratings))
    dist.all_reduce(counts)
    if dist.get_rank() == 0:
        print(json.dumps(found | {"ratings": counts.tolist()}))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()

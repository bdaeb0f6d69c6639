import random
from itertools import chain

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from vpt.data.loader import mix
from vpt.training.batches import Shard, epoch_batches, load_batches

from .tiny import TinyData


@given(st.integers(1, 60), st.integers(1, 16), st.integers(0, 3), st.integers(0, 3), st.booleans())
def test_every_image_once_per_epoch_and_order_from_seed_and_epoch_alone(n, size, seed, epoch, shuffle):
    batches = epoch_batches(n, size, shuffle=shuffle, seed=seed, epoch=epoch)
    assert sorted(chain.from_iterable(batches)) == list(range(n))
    assert all(len(batch) == size for batch in batches[:-1])
    random.seed(n), np.random.seed(n), torch.manual_seed(n)
    assert batches == epoch_batches(n, size, shuffle=shuffle, seed=seed, epoch=epoch)


def test_other_epochs_and_seeds_give_other_orders():
    orders = [epoch_batches(50, 50, shuffle=True, seed=s, epoch=e)[0] for s in range(3) for e in range(3)]
    assert len({tuple(order) for order in orders}) == 9
    assert len({mix(s, e, r) for s in range(5) for e in range(5) for r in range(5)}) == 125


@given(st.integers(1, 40), st.integers(1, 9), st.integers(1, 5))
def test_processes_share_each_batch_without_remainder(n, size, world):
    batches = epoch_batches(n, size, shuffle=True)
    shards = [Shard(batches, rank, world) for rank in range(world)]
    assert {len(shard) for shard in shards} == {len(batches)}
    for step, batch in enumerate(batches):
        parts = [shard.batches[step][: shard.counts[step]] for shard in shards]
        assert sorted(chain.from_iterable(parts)) == sorted(batch)
        assert all(shard.batches[step] for shard in shards)


def test_opening_a_loader_leaves_the_global_generator_alone_and_workers_see_the_epoch():
    data = TinyData(8)
    shard = Shard(epoch_batches(8, 4, shuffle=True))
    before = torch.get_rng_state()
    for epoch in (0, 3):
        data.set_epoch(epoch)
        plain = [batch["image"] for batch in load_batches(data, shard)]
        worked = [batch["image"] for batch in load_batches(data, shard, workers=2)]
        assert all(torch.equal(a, b) for a, b in zip(plain, worked, strict=True))
    assert torch.equal(before, torch.get_rng_state())

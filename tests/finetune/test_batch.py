"""Items and batches: every sequence once, and the way back from packed order to the items."""

import numpy as np
import torch
from hypothesis import given
from hypothesis import strategies as st

from plainformer.encoder import Sequences
from plainformer.finetune.data.batch import Batch, Item, by_length
from plainformer.finetune.tasks.classification import ClassExample, Classification
from plainformer.tokenizer import Encoding
from plainformer.tokenizer.encoding import Tokens
from tests.pretrain import tiny


def encoding(length: int, value: int = 1) -> Encoding:
    return Encoding(((Tokens([value] * length, [], []), 0, 0),))


lengths = st.lists(st.lists(st.integers(1, 9), min_size=1, max_size=4), min_size=1, max_size=12)


def numbered(shape: list[list[int]]) -> list[Item]:
    """Items whose sequences consist of their own number, which is their target, too."""
    numbers = iter(range(1000))
    items = []
    for sizes in shape:
        mine = [(next(numbers), size) for size in sizes]
        items.append(
            Item(
                tuple(encoding(size, number) for number, size in mine),
                tuple(np.array([number]) for number, _ in mine),
            )
        )
    return items


@given(lengths)
def test_a_batch_knows_the_way_back(shape):
    items = numbered(shape)
    batch = Batch.of(items)
    assert list(batch.sequences.lengths) == sorted(size for sizes in shape for size in sizes)
    assert torch.equal(batch.in_order(batch.targets), torch.arange(len(batch.places)))
    starts = np.cumsum([0, *map(len, shape)])[:-1]
    assert batch.first(batch.targets).tolist() == starts.tolist()
    assert batch.owners.tolist() == [i for i, sizes in enumerate(shape) for _ in sizes]
    means = [np.mean([int(target[0]) for target in item.targets]) for item in items]
    np.testing.assert_allclose(batch.mean(batch.targets.double()[:, None])[:, 0], means)
    for item, parts in zip(items, batch.split(batch.input_ids), strict=True):
        assert [part.tolist() for part in parts] == [e.ids for e in item.encodings]


def test_a_batch_moves():
    batch = Batch.of(numbered([[3, 2], [1]])).to(torch.device("meta"))
    sequences = (batch.sequences.cu_seqlens, batch.sequences.positions)
    moved = (batch.input_ids, batch.token_type_ids, batch.places, batch.targets, *sequences)
    assert all(tensor.is_meta for tensor in moved)
    assert Sequences.of([3, 1], device="meta").positions.is_meta


def test_targets_of_tokens_lie_as_the_tokens_do():
    items = [
        Item((encoding(3), encoding(2)), (np.array([0, 1, 2]), np.array([3, 4]))),
        Item((encoding(1),), (np.array([5]),)),
    ]
    assert Batch.of(items).targets.tolist() == [5, 3, 4, 0, 1, 2]
    assert len(Batch.of([Item((encoding(2),))]).targets) == 0


@given(lengths, st.integers(1, 40))
def test_by_length_gives_every_item_once(shape, budget):
    items = numbered(shape)
    seen: list[int] = []
    for batch in by_length(items, budget):
        assert sum(item.num_tokens for _, item in batch) <= budget or len(batch) == 1
        assert all(item is items[number] for number, item in batch)
        seen += [number for number, _ in batch]
    assert sorted(seen) == list(range(len(items)))
    assert [items[i].num_tokens for i in seen] == sorted(item.num_tokens for item in items)


def example(text: str, pair: str | None = None) -> ClassExample:
    return ClassExample(text=text, pair=pair, label="a", source="f:1")


def test_pairs_have_two_types(tokenizer):
    task = Classification(labels=("a", "b"), max_length=32)
    item = task.encode(example("the cat .", "the dog eats ."), tokenizer)
    batch = Batch.of([item])
    wanted = tokenizer.batch([("the cat .", "the dog eats .")])
    assert torch.equal(batch.input_ids, wanted["input_ids"][0])
    assert torch.equal(batch.token_type_ids, wanted["token_type_ids"][0])
    assert set(batch.token_type_ids.tolist()) == {0, 1}


def test_long_texts_are_cut_or_read_in_windows(tokenizer):
    text = " ".join(tiny.sentences(4))
    whole = tokenizer.encode(text).ids[1:-1]
    cut = Classification(labels=("a", "b"), max_length=16).encode(example(text), tokenizer)
    assert cut.is_cut and [len(e) for e in cut.encodings] == [16]
    task = Classification(labels=("a", "b"), max_length=16, overflow="windows")
    windows = task.encode(example(text), tokenizer)
    assert not windows.is_cut and max(len(e) for e in windows.encodings) == 16
    assert len(windows.targets) == len(windows.encodings) > 2
    overlap = 16 // 4
    seen = windows.encodings[0].ids[1:-1]
    for window in windows.encodings[1:]:
        assert window.ids[1 : 1 + overlap] == seen[-overlap:]
        seen = seen + window.ids[1 + overlap : -1]
    assert seen == whole

"""Batches of texts of any lengths, for exported models."""

from types import SimpleNamespace
from typing import Any

import torch

from plainformer.deploy.difference import difference
from plainformer.encoder import Sequences
from plainformer.encoder.pretrained import PretrainedModel


def batch_of(lengths: list[int], vocab_size: int, types: int) -> Any:
    """Random tokens, of two types in each text where the model has them."""
    sequences = Sequences.of(sorted(lengths))
    generator = torch.Generator().manual_seed(sum(lengths))
    ids = torch.randint(4, vocab_size, (sum(lengths),), generator=generator)
    type_ids = (sequences.positions >= 3).long() * (types > 1)
    return SimpleNamespace(input_ids=ids, token_type_ids=type_ids, sequences=sequences)


def assert_is_packed(exported: PretrainedModel, model: PretrainedModel, bound: float) -> None:
    """Batches of many lengths, of one token and of the longest text."""
    for lengths in ([3, 17, 1, 9, 30, 9], [1], [7, 7], [38]):
        batch = batch_of(lengths, model.config.vocab_size, model.config.type_vocab_size)
        assert difference(model, exported, batch) <= bound

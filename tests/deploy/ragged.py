"""Batches of texts of any lengths, for exported models."""

from types import SimpleNamespace
from typing import Any

import torch

from plainformer.encoder import Sequences


def batch_of(lengths: list[int], vocab_size: int, types: int) -> Any:
    """Random tokens, of two types in each text where the model has them."""
    sequences = Sequences.of(sorted(lengths))
    generator = torch.Generator().manual_seed(sum(lengths))
    ids = torch.randint(4, vocab_size, (sum(lengths),), generator=generator)
    type_ids = (sequences.positions >= 3).long() * (types > 1)
    return SimpleNamespace(input_ids=ids, token_type_ids=type_ids, sequences=sequences)

"""Gradients of the pooling of sentences."""

from typing import Any

import pytest
import torch

from plainformer.encoder import Sequences
from plainformer.encoder.heads.sentence import pool_all


@pytest.mark.parametrize(
    "name", ["cls", "max", "mean_sqrt_len_tokens", "weightedmean", "lasttoken"]
)
@pytest.mark.parametrize("skip", [0, 2])
def test_gradients_of_pooling_are_those_of_the_formula(name: Any, skip: int) -> None:
    lengths = [3, 5, 5, 9]
    x = torch.randn(sum(lengths), 6, dtype=torch.float64, requires_grad=True)
    got = pool_all(x, Sequences.of(lengths), [name], skip)
    rows = []
    for sequence in torch.split(x, lengths):
        some, places = sequence[skip:], torch.arange(1.0, len(sequence) + 1)[skip:, None].double()
        rows.append(
            {
                "cls": some[0],
                "lasttoken": some[-1],
                "max": some.max(0).values,
                "mean_sqrt_len_tokens": some.sum(0) / len(some) ** 0.5,
                "weightedmean": (some * places).sum(0) / places.sum(),
            }[name]
        )
    wanted = torch.stack(rows)
    torch.testing.assert_close(got, wanted)
    weight = torch.randn_like(wanted)
    mine, other = (torch.autograd.grad((y * weight).sum(), x)[0] for y in (got, wanted))
    torch.testing.assert_close(mine, other)

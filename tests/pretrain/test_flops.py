"""What training on a batch costs, for each objective, held against what torch counts."""

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from plainformer.encoder import EncoderConfig, MaskedLM, PairedMaskedLM, Sequences, use_backend
from plainformer.pretrain.batch import MaskedBatch, with_step_counts
from plainformer.pretrain.objectives import (
    Distillation,
    Electra,
    ReplacedTokens,
    SentencePairs,
    choose_objective,
    masked_lm,
)
from plainformer.training import Objective

SHAPE = EncoderConfig(
    vocab_size=50,
    num_hidden_layers=2,
    hidden_size=32,
    num_attention_heads=4,
    intermediate_size=48,
    max_position_embeddings=16,
)
ELECTRA = replace(SHAPE, architecture="electra", embedding_size=16, classifier_head="gelu")
BATCH = MaskedBatch(
    input_ids=torch.arange(36),
    sequences=Sequences.of([12, 12, 12]),
    target_positions=torch.tensor([2, 9, 13, 30]),
    labels=torch.tensor([7, 7, 8, 9]),
    token_type_ids=torch.zeros(36, dtype=torch.int64),
    order=torch.tensor([0, 1, 0]),
)
TEACHER = MaskedLM(replace(SHAPE, num_hidden_layers=3)).requires_grad_(False)


@pytest.mark.parametrize(
    ("names", "model", "loss"),
    [
        (["mlm"], MaskedLM(SHAPE), masked_lm),
        (["clm"], MaskedLM(SHAPE), masked_lm),
        (["mlm"], MaskedLM(SHAPE), Distillation(TEACHER)),
        (["rtd"], Electra.new(ELECTRA, 0.5), ReplacedTokens(frozenset({0}))),
        (["nsp", "mlm"], PairedMaskedLM(SHAPE), SentencePairs("nsp", "mlm")),
    ],
    ids=["mlm", "clm", "distillation", "rtd", "nsp and mlm"],
)
def test_the_cost_is_what_torch_counts(
    names: list[str], model: Any, loss: Objective[Any, Any]
) -> None:
    (batch,) = with_step_counts([BATCH])
    with use_backend("plain"), FlopCounterMode(display=False) as counter:
        loss(model, batch).total.backward()
    assert choose_objective(names).flops(model, loss, batch) == counter.get_total_flops()

"""A step of pretraining and a forward pass read no number from the device."""

from typing import Any, Literal

import pytest
import torch

from plainformer.encoder import Encoder, MaskedLM, SentenceEncoder
from plainformer.pretrain.data import MaskedBatches
from plainformer.pretrain.objectives import masked_lm
from plainformer.training import TrainingConfig
from plainformer.training.optimizer import build_optimizer
from plainformer.training.parallel import ModelCall
from plainformer.training.step import take_step
from tests.pretrain.test_objectives_losses import CHUNKS, MASKING, SPECIAL, ReplacedTokens, electra
from tests.pretrain.tiny import SHAPE
from tests.training.fakes import without_numbers

BATCHES = MaskedBatches(CHUNKS, MASKING, 100, micro_batches=2)


@pytest.mark.parametrize(("objective", "optimizer"), [("mlm", "muon"), ("rtd", "adamw")])
def test_a_step_waits_for_nothing(objective: str, optimizer: Literal["adamw", "muon"]) -> None:
    model: Any = electra() if objective == "rtd" else MaskedLM(SHAPE)
    loss: Any = ReplacedTokens(SPECIAL) if objective == "rtd" else masked_lm
    config = TrainingConfig(device="cpu", optimizer=optimizer)
    with without_numbers(model.train(), *BATCHES(0)) as own:
        made = build_optimizer(model, config)
        taken = take_step(ModelCall(model), loss, lambda _: own, made, config, 0)
    assert taken.tokens == sum(batch.num_tokens for batch in own)


@torch.no_grad()
def test_vectors_of_a_packed_batch_wait_for_nothing() -> None:
    model = SentenceEncoder(Encoder(SHAPE)).eval()
    with without_numbers(model, BATCHES(0)[0]) as (batch,):
        vectors = model(batch.input_ids, None, None, batch.sequences)
    assert vectors.shape == (len(batch.sequences.lengths), SHAPE.hidden_size)

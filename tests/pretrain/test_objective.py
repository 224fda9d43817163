"""The loss is that of transformers, on the same weights, with −100 wherever nothing is asked."""

import numpy as np
import pytest
import torch

from plainformer.encoder import MaskedLM
from plainformer.pretrain import Chunks, MaskedBatches, Masking, masked_lm
from plainformer.pretrain.masking import ordinary_ids
from tests.pretrain import tiny


@pytest.mark.parametrize("architecture", ["bert", "modern"])
def test_loss_equals_that_of_transformers(wordpiece, architecture, tmp_path):
    from transformers import AutoModelForMaskedLM

    torch.manual_seed(1)
    model = MaskedLM(tiny.shape(architecture, wordpiece)).eval()
    model.save_pretrained(tmp_path)
    theirs = AutoModelForMaskedLM.from_pretrained(tmp_path, attn_implementation="sdpa").eval()
    texts = [*tiny.sentences(6), "the cat ."]
    chunks = Chunks([tiny.shard(texts, wordpiece)], wordpiece, 24)
    rule = Masking(wordpiece.mask_id, ordinary_ids(wordpiece), ratio=0.3)
    (batch,) = MaskedBatches(chunks, rule, 200)(0)

    labels = torch.full_like(batch.input_ids, -100)
    labels[batch.target_positions] = batch.labels
    wanted = theirs(
        input_ids=batch.sequences.pad(batch.input_ids),
        attention_mask=batch.sequences.pad(torch.ones_like(batch.input_ids)),
        labels=batch.sequences.pad(labels + 100) - 100,
    )
    loss = masked_lm(model, batch)
    assert loss.items == len(batch.labels) > 10
    assert loss.total.item() == pytest.approx(wanted.loss.item() * loss.items, rel=1e-5)
    right = (
        batch.sequences.unpad(wanted.logits)[batch.target_positions].argmax(-1) == batch.labels
    ).sum()
    assert int(loss.metrics["accuracy"]) == int(right)


def test_gradient_reaches_every_parameter(wordpiece, tmp_path):
    torch.manual_seed(1)
    model = MaskedLM(tiny.shape("modern", wordpiece))
    chunks = Chunks([tiny.shard(tiny.sentences(6), wordpiece)], wordpiece, 24)
    rng = np.random.default_rng(0)
    rule = Masking(wordpiece.mask_id, ordinary_ids(wordpiece), 0.3)
    batch = rule(chunks.text(chunks[0], rng), rng)
    masked_lm(model, batch).total.backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in model.parameters())

"""The loss is that of transformers, on the same weights."""

import pytest
import torch

from encoder import SequenceClassifier
from finetune import Example, Texts, classification
from tests.pretrain import tiny

LABELS = ("bird", "beast", "fish")


@pytest.mark.parametrize(("architecture", "pooling"), [("bert", "cls"), ("modern", "mean")])
def test_loss_equals_that_of_transformers(tokenizer, models, architecture, pooling, tmp_path):
    from transformers import AutoModelForSequenceClassification

    torch.manual_seed(3)
    model = SequenceClassifier.from_pretrained(models[architecture], labels=LABELS, pooling=pooling)
    model.save_pretrained(tmp_path)
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path).eval()
    pair = [("the cat .", "the dog hunts .")] if architecture == "bert" else []
    texts = [*tiny.sentences(6), "the .", *pair]
    examples = [Example(text, LABELS[i % 3], f"f:{i}") for i, text in enumerate(texts)]
    batch = Texts.of(examples, LABELS, tokenizer, 24).batch(range(len(texts)))

    pad = batch.sequences.pad
    types = {"token_type_ids": pad(batch.token_type_ids)} if architecture == "bert" else {}
    wanted = theirs(
        input_ids=pad(batch.input_ids),
        attention_mask=pad(torch.ones_like(batch.input_ids)),
        labels=batch.labels,
        **types,
    )
    loss = classification(model, batch)
    assert loss.count == len(texts)
    assert loss.total.item() == pytest.approx(wanted.loss.item() * loss.count, rel=1e-5)
    right = (wanted.logits.argmax(-1) == batch.labels).sum()
    assert int(loss.metrics["accuracy"]) == int(right)

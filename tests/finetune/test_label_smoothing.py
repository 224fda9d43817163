"""Smoothed labels: the loss is PyTorch's, in every task that has them."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy

from plainformer.base import UserError
from plainformer.finetune import ClassificationOptions, RelationOptions, TaggingOptions, finetune
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.losses.label_smoothing import smoothed
from tests.finetune import gradients, sentences
from tests.finetune import test_distributed as distributed
from tests.finetune.conftest import config_of


@pytest.mark.parametrize("weights", [(), (0.5, 1.0, 3.0)])
@pytest.mark.parametrize("smoothing", [0.0, 0.1, 0.9])
def test_a_classifiers_loss_is_pytorchs(weights, smoothing):
    task = replace(gradients.TASK, weights=weights, label_smoothing=smoothing)
    batch = gradients.batch_of(count=8)
    logits = torch.randn(8, 3, requires_grad=True)
    loss = task.loss(logits, batch)
    wanted = cross_entropy(
        logits,
        batch.first(batch.targets),
        weight=torch.tensor(weights) if weights else None,
        reduction="sum",
        label_smoothing=smoothing,
    )
    assert loss.items == 8 and loss.total.item() == pytest.approx(wanted.item(), rel=1e-6)
    (ours,), (theirs,) = (torch.autograd.grad(x, logits) for x in (loss.total, wanted))
    torch.testing.assert_close(ours, theirs, rtol=1e-6, atol=1e-6)


def test_a_taggers_loss_is_pytorchs_without_the_words_of_unknown_labels():
    task = replace(sentences.task(), labels=("X", "Y", "Z"), decoding="each", label_smoothing=0.2)
    words = ["the", "cat", "sat", "on", "the", "mat"]
    tags = ["X", "Y", "Z", "X", "Y", "unknown"]
    item = task.encode(sentences.sentence(words, tags), sentences.TOKENIZERS["wordpiece"])
    batch = Batch.of([item])
    scores = task.of_words(torch.randn(batch.num_tokens, len(task.labels)), batch)
    labels = torch.from_numpy(np.concatenate(item.targets))[scores.places]
    assert len(labels) == 6 and (labels == -100).sum() >= 1
    wanted = cross_entropy(scores.logits, labels, reduction="sum", label_smoothing=0.2)
    assert task.loss(scores, batch).total.item() == pytest.approx(wanted.item(), rel=1e-6)


def test_without_smoothing_the_loss_is_untouched():
    loss = torch.tensor(2.5)
    assert smoothed(loss, torch.randn(2, 3), torch.tensor([0, 1]), 0.0) is loss


def test_what_smoothing_does_not_go_with_is_refused(models, files, tmp_path):
    files_of_run = {"model": models["bert"], "train": files("train"), "out": tmp_path}
    with pytest.raises(UserError, match="label_smoothing and the focal loss"):
        config_of(ClassificationOptions, label_smoothing=0.1, balance="focal", **files_of_run)
    with pytest.raises(UserError, match="crf has the loss of a whole sentence"):
        config_of(TaggingOptions, label_smoothing=0.1, crf=True, **files_of_run)
    with pytest.raises(UserError, match="label_smoothing must be"):
        RelationOptions(label_smoothing=1.0)


def test_a_run_has_the_loss_of_its_options(models, files, tmp_path):
    """From the first step, whose weights and dropout are the same."""
    few = ClassificationOptions(per_label=7)
    plain = distributed.settings(models, files, tmp_path / "plain", task=few, valid=None)
    smooth = replace(few, label_smoothing=0.9)
    smooth = replace(plain, out=tmp_path / "smooth", task=smooth)
    for config in (plain, smooth):
        finetune(replace(config, epochs=1.0), quiet=True)
    one, other = (distributed.log(run.out)[0]["loss"] for run in (plain, smooth))
    assert abs(one - other) > 1e-4
    assert "label_smoothing" not in (smooth.out / "task.json").read_text()

"""Mixup: against the loss of mixed vectors and mixed labels."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch.distributions import Beta
from torch.nn.functional import cross_entropy, one_hot

from plainformer.base import UserError
from plainformer.finetune import RobustOptions, SentenceEmbeddingOptions, TaggingOptions
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.micro_batches import Uncounted
from plainformer.finetune.robust import mixup
from plainformer.finetune.robust.mixup import with_targets_of
from plainformer.finetune.tasks.regression import Regression
from tests.finetune import gradients
from tests.finetune.conftest import config_of
from tests.finetune.gradients import TASK, batch_of, classifier


def drawn(seed: int, count: int) -> tuple[float, torch.Tensor]:
    """The share and the partners that are drawn after the seed, where nothing else draws."""
    torch.manual_seed(seed)
    return float(Beta(0.5, 0.5).sample()), torch.randperm(count)


@pytest.mark.parametrize("architecture", ["bert", "modern"])
def test_it_is_the_loss_of_mixed_vectors_and_labels(architecture):
    model, batch = classifier(architecture), batch_of(count=6)
    share, partners = drawn(8, 6)
    assert 0.02 < share < 0.98 and not torch.equal(partners, torch.arange(6))
    torch.manual_seed(8)
    ours = gradients.gradients(model, mixup(TASK, 0.5), batch)

    vectors = []
    handle = model.classifier.register_forward_pre_hook(lambda _, inputs: vectors.append(inputs[0]))
    TASK.outputs(model, batch)
    handle.remove()
    h = batch.in_order(vectors[0])
    labels = one_hot(batch.first(batch.targets), 3).double()
    mixed, target = (share * x + (1 - share) * x[partners] for x in (h, labels))
    logits = mixed @ model.classifier.weight.T + model.classifier.bias
    gradients.assert_same(
        ours, gradients.of_tensor(model, cross_entropy(logits, target, reduction="sum"))
    )


def test_of_scores_it_has_the_gradient_of_the_mixed_score(monkeypatch):
    task, (share, partners) = Regression(max_length=16), drawn(8, 6)
    scores, items = torch.randn(6), gradients.items(count=6)
    batch = Batch.of(
        [replace(i, targets=(s[None].numpy(),)) for i, s in zip(items, scores, strict=True)]
    )
    outputs = torch.randn(6, 1, requires_grad=True)
    monkeypatch.setattr(Regression, "outputs", lambda *_: outputs)
    model = classifier()
    torch.manual_seed(8)
    loss = mixup(task, 0.5)(model, batch)
    (ours,) = torch.autograd.grad(loss.total, outputs)
    mixed, target = (share * x + (1 - share) * x[partners] for x in (outputs[:, 0], scores))
    (theirs,) = torch.autograd.grad((mixed - target).square().sum(), outputs)
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)
    assert loss.items == 6


def test_all_windows_of_a_text_have_the_target_of_its_partner():
    task = replace(TASK, overflow="windows")
    batch = batch_of(task)
    assert batch.counts[0] > 1
    partners = torch.tensor([2, 0, 1])
    other = with_targets_of(batch, partners)
    assert torch.equal(other.first(other.targets), batch.first(batch.targets)[partners])
    for owner, place in zip(batch.owners, batch.places, strict=True):
        assert other.targets[place] == batch.first(batch.targets)[partners][owner]


def test_an_uncounted_batch_has_no_gradient():
    model, batch = classifier(), Uncounted.of(gradients.items())
    total, found = gradients.gradients(model, mixup(TASK), batch)
    assert total == 0 and not any(gradient.any() for gradient in found.values())


def test_the_share_is_drawn_from_beta():
    torch.manual_seed(0)
    shares = np.array([float(Beta(0.2, 0.2).sample()) for _ in range(2000)])
    assert 0.45 < shares.mean() < 0.55 and (np.minimum(shares, 1 - shares) < 0.05).mean() > 0.5


def test_what_mixup_does_not_go_with_is_refused(models, files, tmp_path):
    given = {"model": models["bert"], "train": files("train"), "out": tmp_path}
    for options in (TaggingOptions, SentenceEmbeddingOptions):
        with pytest.raises(UserError, match="mixup mixes the vectors of whole texts"):
            config_of(options, robust=RobustOptions(mixup=0.2), **given)
    with pytest.raises(UserError, match="mixup draws another mixture in each pass of fgm"):
        RobustOptions(mixup=0.2, fgm=1.0)

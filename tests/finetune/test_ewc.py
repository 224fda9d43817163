"""Elastic weight consolidation: the Fisher information, and the penalty it gives."""

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, one_hot

from plainformer.encoder import Sequences
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.continual import ElasticPull, fisher
from plainformer.finetune.tasks.classification import Classification
from tests.finetune import gradients
from tests.finetune.gradients import TASK, TOKENIZER, batch_of, classifier, items


@pytest.mark.parametrize("architecture", ["bert", "modern"])
def test_fisher_is_the_mean_square_of_the_gradients_of_each_text(architecture):
    """Each text alone, padded to one length, with torch's own cross-entropy."""
    model, texts = classifier(architecture, dropout=0.3), items(count=4)
    found = fisher(TASK, model, texts)
    wanted = {name: torch.zeros_like(p) for name, p in model.base.named_parameters()}
    for item in texts:
        (encoding,), (label,) = item.encodings, item.targets
        padding = [TOKENIZER.pad_id] * (20 - len(encoding))
        ids = torch.tensor([[*encoding.ids, *padding]])
        mask = torch.tensor([[1] * len(encoding) + [0] * len(padding)])
        model.zero_grad()
        (-model(ids, mask).log_softmax(-1)[0, label[0]]).backward()
        for name, parameter in model.base.named_parameters():
            if parameter.grad is not None:
                wanted[name] += parameter.grad**2 / len(texts)
    assert found.keys() == wanted.keys()
    for name, square in found.items():
        torch.testing.assert_close(square, wanted[name], rtol=1e-5, atol=1e-9, msg=name)
    assert sum(float(square.sum()) for square in found.values()) > 1e-3


class LogisticRegression(PretrainedModel):
    """Two labels by a linear function of how often each token occurs."""

    def __init__(self) -> None:
        super().__init__()
        self.weights = nn.Linear(TOKENIZER.vocab_size, 1, bias=False).double()

    @property
    def base(self) -> Any:
        return self.weights

    def forward(self, ids: Tensor, mask: None, type_ids: Tensor, sequences: Sequences) -> Tensor:
        z = self.weights(sequences.sum(one_hot(ids, TOKENIZER.vocab_size).double()))
        return torch.cat([torch.zeros_like(z), z], -1)


def test_fisher_of_logistic_regression_is_its_closed_form():
    model, task = LogisticRegression(), Classification(labels=("a", "b"), max_length=16)
    texts = [item for n, item in enumerate(items()) if n % 3 < 2]
    found = fisher(task, model, texts)["weight"]
    x = torch.stack(
        [
            one_hot(torch.tensor(item.encodings[0].ids), TOKENIZER.vocab_size).sum(0)
            for item in texts
        ]
    ).double()
    y = torch.tensor([float(item.targets[0][0]) for item in texts])
    p = torch.sigmoid(x @ model.weights.weight.detach()[0])
    wanted = ((p - y)[:, None] ** 2 * x**2).mean(0)
    torch.testing.assert_close(found[0], wanted, rtol=1e-6, atol=1e-9)


def moved(model: nn.Module) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))


def test_the_penalty_of_two_tasks_is_the_sum_of_theirs():
    torch.manual_seed(3)
    model, batch = classifier(), batch_of()
    pull, learned = ElasticPull(), []
    for _ in range(2):
        moved(model)
        values = {name: p.detach().clone() for name, p in model.base.named_parameters()}
        importance = {name: torch.rand_like(p) for name, p in values.items()}
        pull = pull.after(model, importance)
        learned.append((importance, values))
    moved(model)
    logits = TASK.outputs(model, batch)
    loss = cross_entropy(logits, batch.first(batch.targets), reduction="sum")
    penalty = sum(
        (importance[name] * (p - values[name]) ** 2).sum()
        for importance, values in learned
        for name, p in model.base.named_parameters()
    )
    _, wanted = gradients.of_tensor(model, loss + 0.7 / 2 * penalty)
    total, found = gradients.of_tensor(model, TASK.loss(TASK.outputs(model, batch), batch).total)
    pull.add_gradient(model, 0.7)
    found = {name: p.grad for name, p in model.named_parameters() if p.grad is not None}
    gradients.assert_same((total, found), (total, wanted))

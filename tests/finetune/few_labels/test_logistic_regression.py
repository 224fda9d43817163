"""Logistic regression: scikit-learn's solution, at which the gradient is 0."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from torch.nn.functional import cross_entropy

from plainformer.finetune.few_labels import logistic_regression


@pytest.mark.parametrize("labels", [2, 4])
@pytest.mark.parametrize("c", [1.0, 30.0])
def test_it_is_that_of_scikit_learn(labels: int, c: float) -> None:
    generator = torch.Generator().manual_seed(labels)
    x = torch.randn(30, 8, generator=generator)
    y = torch.cat([torch.arange(labels), torch.zeros(30 - labels, dtype=torch.int64)])
    y[15:] = torch.randint(labels, (15,), generator=generator)
    weight, bias = logistic_regression(x, y, c)
    theirs = LogisticRegression(C=c, tol=1e-10, max_iter=10_000).fit(x.double().numpy(), y.numpy())
    logits = x.double() @ weight.T + bias
    assert weight.dtype == torch.float64 and weight.shape == (labels, 8)
    np.testing.assert_allclose(
        logits.softmax(-1).numpy(), theirs.predict_proba(x.double().numpy()), atol=1e-5
    )
    ours = weight[1:] - weight[:1] if labels == 2 else weight
    np.testing.assert_allclose(ours.numpy(), theirs.coef_, atol=1e-5)


def test_its_gradient_is_0() -> None:
    x = torch.randn(12, 5, generator=torch.Generator().manual_seed(0)).double()
    y = torch.arange(12) % 3
    weight, bias = (value.requires_grad_() for value in logistic_regression(x, y, 2.0))
    loss = weight.square().sum() / 2 + 2 * cross_entropy(x @ weight.T + bias, y, reduction="sum")
    loss.backward()
    assert float(weight.grad.abs().max()) < 1e-6 and float(bias.grad.abs().max()) < 1e-6

"""The gradient's norm is that of float64, also of millions of numbers; clipping is torch's."""

import pytest
import torch
from torch import nn

from plainformer.training.grad_norm import _square_sum_by_trees, clip_gradients, gradient_norm


@pytest.mark.parametrize("sizes", [[(1,)], [(511,), (513, 3), ()], [(3000, 4000), (0,), (7, 5)]])
def test_the_norm_is_that_of_float64(sizes: list[tuple[int, ...]]) -> None:
    generator = torch.Generator().manual_seed(0)
    gradients = [1e-3 * torch.randn(size, generator=generator) for size in sizes]
    expected = torch.cat([g.double().flatten() for g in gradients]).norm()
    assert float(gradient_norm(gradients)) == pytest.approx(float(expected), rel=1e-7)
    transposed = [g.mT if g.ndim == 2 else g for g in gradients]
    assert float(gradient_norm(transposed)) == pytest.approx(float(expected), rel=1e-7)


def test_no_gradient_has_no_norm() -> None:
    assert float(gradient_norm([])) == 0
    clip_gradients([], gradient_norm([]), 1.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_what_is_not_finite_stays_visible(value: float) -> None:
    assert not gradient_norm([torch.ones(600), torch.tensor([1.0, value])]).isfinite()


@pytest.mark.parametrize("most", [0.1, 1e6])
def test_clipping_is_that_of_torch(most: float) -> None:
    parameters = [nn.Parameter(torch.zeros(n)) for n in (5, 600)]
    for parameter in parameters:
        parameter.grad = torch.randn(parameter.shape)
    gradients = [p.grad.clone() for p in parameters if p.grad is not None]
    nn.utils.clip_grad_norm_(parameters, most)
    clip_gradients(gradients, gradient_norm(gradients), most)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-6, atol=0)


def test_the_sum_for_a_gpu_is_the_same() -> None:
    gradients = [torch.randn(n, generator=torch.Generator().manual_seed(n)) for n in (1, 700, 33)]
    expected = sum(float(g.double().square().sum()) for g in gradients)
    assert float(_square_sum_by_trees(gradients)) == pytest.approx(expected, rel=1e-6)

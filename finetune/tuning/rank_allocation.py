"""Allocate the ranks of AdaLoRA (Zhang et al. 2023, arXiv:2303.10512): hooks around each step.

    loss + γ · mean of ‖Pᵀ P − 1‖ and ‖Q Qᵀ − 1‖ over all P and Q           (eq. 4)
    I = |w ∂loss/∂w|                    sensitivity of a number w           (eq. 8)
    Ī ← β Ī + (1 − β) I,    U ← β U + (1 − β) |I − Ī|,    S = Ī U           (eq. 9 to 11)
    S(λ) + mean S(row of Q) + mean S(column of P)    score of a triplet     (eq. 7)

After a step t of T, λ is set to 0 but in the b(t) triplets of the largest scores, of all layers:

    b = all of them until T/10;    b = n, as many as are kept, from T/2 on;    between (eq. 12)
    b = n + (all − n) (1 − (t − T/10) / (T/2 − T/10))³

From T/2 on the scores stay, and so do the kept triplets. As in the authors' code, the norms are not
squared, the weights are those after the step, and a λ that was set to 0 moves, and may come back.
The running means are buffers of the layers: a resumed run goes on with them.
"""

from collections.abc import Callable
from typing import cast

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.tuning.adalora import AdaLoraLinear

BETA = 0.85
ORTHOGONALITY = 0.5
"""The weight γ of the orthogonality in the loss."""
WARMUP, FINAL = 0.1, 0.5
"""Shares of the steps: before the first triplet is dropped, and after the last one is."""


class Importance(nn.Module):
    """The running means of the sensitivities of an addition, and of their deviations."""

    mean: Tensor
    deviation: Tensor

    def __init__(self, triplets: Float[Tensor, "rank numbers"]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros_like(triplets))
        self.register_buffer("deviation", torch.zeros_like(triplets))

    def update(self, sensitivity: Float[Tensor, "rank numbers"]) -> None:
        """Take in the sensitivities of one step."""
        self.mean.lerp_(sensitivity, 1 - BETA)
        self.deviation.lerp_((sensitivity - self.mean).abs(), 1 - BETA)

    def scores(self, columns: int) -> Float[Tensor, " rank"]:
        """Compute the score of each triplet; a row of Q has this number of columns."""
        every = self.mean * self.deviation
        scores: Tensor = every[:, 0] + every[:, 1 : 1 + columns].mean(1)
        return scores + every[:, 1 + columns :].mean(1)


class RankAllocator:
    """The hooks `before` and `after` each of the `steps`; they leave `rank` triplets on average."""

    def __init__(self, model: PretrainedModel, rank: int, steps: int) -> None:
        self.steps, self.warmup, self.final = steps, round(WARMUP * steps), round(FINAL * steps)
        found = additions(model)
        self.all = sum(len(layer.e[part]) for layer, part in found)
        self.kept = rank * len(found)
        self.gradients: list[Tensor] = []
        for layer, part in found:
            layer.importance[part] = Importance(triplets(layer, part, nn.Parameter.detach))

    def budget(self, step: int) -> int:
        """Return the number of triplets that are kept after `step` steps."""
        if step <= self.warmup:
            return self.all
        if step > self.steps - self.final:
            return self.kept
        left = 1 - (step - self.warmup) / (self.steps - self.final - self.warmup)
        return int((self.all - self.kept) * left**3 + self.kept)

    @torch.no_grad()
    def before(self, model: PretrainedModel, _step: int) -> None:
        """Add the gradient of the orthogonality, and keep the gradients for `after`."""
        found = additions(model)
        weight = ORTHOGONALITY / (2 * len(found))
        for layer, part in found:
            q, p = layer.a[part], layer.b[part]
            q.grad = gradient_or_zeros(q) + weight * gradient_of_orthogonality(q)
            p.grad = gradient_or_zeros(p) + weight * gradient_of_orthogonality(p.T).T
        self.gradients = [triplets(layer, part, gradient_or_zeros) for layer, part in found]

    @torch.no_grad()
    def after(self, model: PretrainedModel, step: int) -> None:
        """Take in the sensitivities of step number `step`, from 1, and drop triplets.

        A step that was skipped has none.
        """
        found = additions(model)
        if step < self.steps - self.final and self.gradients:
            for (layer, part), gradient in zip(found, self.gradients, strict=True):
                numbers = triplets(layer, part, nn.Parameter.detach)
                importance(layer, part).update((numbers * gradient).abs())
        self.gradients = []
        if step <= self.warmup:
            return
        scores = [importance(layer, part).scores(layer.in_features) for layer, part in found]
        every = torch.cat(scores)
        kept = torch.zeros_like(every).index_fill(0, every.topk(self.budget(step)).indices, 1)
        masks = torch.split(kept, [*map(len, scores)])
        for (layer, part), mask in zip(found, masks, strict=True):
            layer.e[part].mul_(mask)

    def finish(self, model: PretrainedModel) -> None:
        """Remove the running means from the model."""
        for layer, part in additions(model):
            del layer.importance[part]


def additions(model: PretrainedModel) -> list[tuple[AdaLoraLinear, str]]:
    """Return the additions of a model: the layer, and the part of it."""
    layers = [layer for layer in model.base.modules() if isinstance(layer, AdaLoraLinear)]
    return [(layer, part) for layer in layers for part in layer.parts]


def importance(layer: AdaLoraLinear, part: str) -> Importance:
    """Return the running means of an addition."""
    return cast(Importance, layer.importance[part])


def triplets(
    layer: AdaLoraLinear, part: str, of: Callable[[nn.Parameter], Tensor]
) -> Float[Tensor, "rank numbers"]:
    """Gather what `of` gives for an addition: in each row λ, the row of Q and the column of P."""
    e, a, b = (of(matrices[part]) for matrices in (layer.e, layer.a, layer.b))
    return torch.cat([e[:, None], a, b.T], 1)


def gradient_or_zeros(parameter: nn.Parameter) -> Tensor:
    """Return the gradient of a parameter; zeros where it has none."""
    return torch.zeros_like(parameter) if parameter.grad is None else parameter.grad


def gradient_of_orthogonality(rows: Float[Tensor, "rank size"]) -> Float[Tensor, "rank size"]:
    """Compute ∂‖M‖/∂rows = 2 M rows / ‖M‖, where M = rows rowsᵀ − 1."""
    m = rows @ rows.T - torch.eye(len(rows), device=rows.device, dtype=rows.dtype)
    gradient: Tensor = 2 * m @ rows / m.norm().clamp_min(torch.finfo(m.dtype).tiny)
    return gradient

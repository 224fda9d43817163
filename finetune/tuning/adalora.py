"""AdaLoRA (Zhang et al. 2023, arXiv:2303.10512): LoRA of a larger rank where it helps.

    y = W x + b + s · P Λ Q x        P: (rows, rank)    Λ: a diagonal, 0 at the start
    s = alpha / rank                 Q: (rank, columns)

A column of P, its λ and its row of Q are a triplet. There are more of them at the start than are
kept: training sets the λ of those to 0 that matter least, in whichever layer they are (see
`rank_allocation`), and the adapter is saved without them.

    add_adalora(model, rank=8, targets=("query", "value"))  # 12 triplets each, 8 on average at last
"""

import math
from collections.abc import Sequence
from typing import ClassVar

from jaxtyping import Float
from torch import Tensor, nn

from plainformer.encoder.linear import Linear
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.tuning.layers import freeze_base, replace_layers
from plainformer.finetune.tuning.lora import TARGETS, LoraLinear, lora_scale

AT_START = 1.5
"""Rank at the start, for each one of the mean rank that is kept, as in the paper."""


class AdaLoraLinear(LoraLinear):
    """A linear layer with an addition P Λ Q for each of `parts`: P is `b`, Λ is `e`, Q is `a`."""

    running_means: ClassVar[int] = 2

    def __init__(
        self, layer: Linear, parts: Sequence[str], rank: int, scale: float, dropout: float = 0.0
    ) -> None:
        super().__init__(layer, parts, rank, scale, dropout)
        self.e = nn.ParameterDict({part: self.weight.new_zeros(rank) for part in parts})
        self.importance = nn.ModuleDict()
        for matrix in (*self.a.values(), *self.b.values()):
            nn.init.normal_(matrix, std=0.02)

    def down(self, part: str) -> Float[Tensor, "rank columns"]:
        """Return Λ Q of a part."""
        down: Tensor = self.e[part][:, None] * self.a[part]
        return down


def rank_at_start(rank: int) -> int:
    """Return the rank of each addition before any is dropped."""
    return math.ceil(AT_START * rank)


def add_adalora(
    model: PretrainedModel,
    rank: int = 8,
    alpha: float = 16.0,
    targets: Sequence[str] = TARGETS,
    dropout: float = 0.0,
) -> None:
    """Add P Λ Q to the layers `targets` in the blocks; freeze all else but the head.

    `rank` is the mean that `RankAllocator` leaves. The model computes what
    it did before. Raises `UserError` for a name that no layer has.
    """
    lora_scale(rank, alpha, False)  # refuses a rank below 1
    first = rank_at_start(rank)
    scale = lora_scale(first, alpha, False)
    replace_layers(
        model, targets, lambda layer, parts: AdaLoraLinear(layer, parts, first, scale, dropout)
    )
    freeze_base(model)

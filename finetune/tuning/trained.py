"""Count what is trained of a model, and the memory that training adds to it."""

from collections.abc import Callable

from torch import Tensor, nn

from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights.added import split_state
from plainformer.finetune.tuning.layers import TunedLinear
from plainformer.training import LearningRateMultipliers
from plainformer.training.optimizer import full_rate

COPIES = 3
"""Numbers for each trained one: its gradient, and the two moments of AdamW. A method that keeps
running means of its own adds to them."""


def trained_parameters(
    model: PretrainedModel, multipliers: LearningRateMultipliers = full_rate
) -> list[str]:
    """Tabulate the trained parameters of each part of `model`, one line each, and their memory.

    The head is what follows the blocks: a final norm and a pooler, too.

    A parameter is frozen where it requires no gradient, or its multiplier is 0.
    """
    base, added = model.base, split_state(model)[1]
    low = {
        p for m in (base.embeddings, base.distance_bias) if m is not None for p in m.parameters()
    }
    blocks = set(base.blocks.parameters())
    means = {
        p: layer.running_means
        for layer in base.modules()
        if isinstance(layer, TunedLinear)
        for p in layer.parameters()
    }
    parts: dict[str, Callable[[str, Tensor], bool]] = {
        "embeddings": lambda name, p: p in low and name not in added,
        "blocks": lambda name, p: p in blocks and name not in added,
        "added": lambda name, p: name in added,
        "head": lambda name, p: p not in low | blocks and name not in added,
        "all": lambda name, p: True,
    }
    named = list(model.named_parameters())
    lines = [f"{'':<12}{'parameters':>14}{'trained':>14}{'gradients and moments':>22}"]
    for part, holds in parts.items():
        every = [(name, p) for name, p in named if holds(name, p)]
        trained = [p for name, p in every if p.requires_grad and multipliers(name)]
        count, of = sum(p.numel() for p in trained), sum(p.numel() for _, p in every)
        size = sum((COPIES + means.get(p, 0)) * p.numel() * p.element_size() for p in trained)
        if of:
            lines.append(f"{part:<12}{of:>14,}{count:>14,}{size / 1e6:>19,.1f} MB")
    return lines


def is_frozen(model: nn.Module, multipliers: LearningRateMultipliers = full_rate) -> bool:
    """Tell whether some parameter of `model` is not trained."""
    return any(not p.requires_grad or not multipliers(n) for n, p in model.named_parameters())

"""AdamW (Loshchilov and Hutter, 2019), with weight decay on matrices only.

    m ← β₁m + (1 − β₁)g        v ← β₂v + (1 − β₂)g²
    θ ← θ − η · (λθ + m̂ / (√v̂ + ε))      λ = 0 where θ has fewer than two dimensions

A bias or the gain of a norm has no direction to be shrunk in, so these are spared, as in BERT.
The optimizer's state is kept under the names of the parameters, to be saved as plain tensors.
"""

import torch
from torch import Tensor, nn

from training.config import TrainingConfig


def build_optimizer(model: nn.Module, config: TrainingConfig) -> torch.optim.AdamW:
    """Return AdamW over the parameters; those that get no gradient (frozen) stay as they are."""
    parameters = list(model.parameters())
    matrices = [parameter for parameter in parameters if parameter.ndim >= 2]
    others = [parameter for parameter in parameters if parameter.ndim < 2]
    return torch.optim.AdamW(
        [
            {"params": matrices, "weight_decay": config.weight_decay},
            {"params": others, "weight_decay": 0.0},
        ],
        lr=config.learning_rate,
        betas=config.betas,
        eps=config.eps,
        fused=all(parameter.device.type in ("cpu", "cuda") for parameter in parameters),
    )


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state as "parameter name.exp_avg", ".exp_avg_sq" and ".step"."""
    return {
        f"{name}.{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizer(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """Put `tensors`, from `optimizer_tensors`, back; the inverse, bit for bit.

    Raises KeyError for a tensor of a parameter that `model` has not.
    """
    parameters = dict(model.named_parameters())
    for full_name, tensor in tensors.items():
        name, _, key = full_name.rpartition(".")
        parameter = parameters[name]
        # A fused step wants its counter on the parameter's device, its moments in its layout.
        state = torch.empty_like(tensor if key == "step" else parameter, device=parameter.device)
        optimizer.state[parameter][key] = state.copy_(tensor)

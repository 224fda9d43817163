"""AdamW (Loshchilov and Hutter, 2019), with weight decay on matrices only.

    m ← β₁m + (1 − β₁)g        v ← β₂v + (1 − β₂)g²
    θ ← θ − sη · (λθ + m̂ / (√v̂ + ε))     λ = 0 where θ has fewer than two dimensions

A bias or the gain of a norm has no direction to be shrunk in, so these are spared, as in BERT.
s is the parameter's share of the learning rate; where it is 0 the parameter is frozen.
Matrices of blocks may go by Muon instead (see `training.muon`).
The optimizer's state is kept under the names of the parameters, to be saved as plain tensors.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.training.config import TrainingConfig
from plainformer.training.muon import Muon, block_matrices
from plainformer.training.parallel import assign

Shares = Callable[[str], float]
"""Name of a parameter -> the share of the learning rate that it gets; 0: it is frozen."""


def equal(name: str) -> float:
    """Every parameter gets the whole rate."""
    return 1.0


def build_optimizer(
    model: nn.Module, config: TrainingConfig, shares: Shares = equal
) -> torch.optim.AdamW:
    """Return AdamW, or Muon, over the parameters that are trained, in groups of one `share` each.

    A parameter whose share is 0 gets no gradient from now on; one that had none before stays as it
    is. One that stands under several names (tied) goes by the first. Raises UserError when nothing
    is left to train.
    """
    matrices = block_matrices(model) if config.optimizer == "muon" else {}
    groups: dict[tuple[float, bool, bool, int], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        share = shares(name)
        if share == 0:
            parameter.requires_grad_(False)
        by_muon = parameter in matrices
        if by_muon:
            share *= config.matrix_learning_rate / config.learning_rate
        if parameter.requires_grad:
            group = (share, parameter.ndim >= 2, by_muon, matrices.get(parameter, 1))
            groups.setdefault(group, []).append(parameter)
    if not groups:
        raise UserError("every parameter is frozen: there is nothing to train")
    trained = [parameter for group in groups.values() for parameter in group]
    kind = Muon if config.optimizer == "muon" else torch.optim.AdamW
    return kind(
        [
            {
                "params": group,
                "share": share,
                "lr": share * config.learning_rate,
                "weight_decay": config.weight_decay if is_matrix else 0.0,
                "muon": by_muon,
                "parts": parts,
            }
            for (share, is_matrix, by_muon, parts), group in groups.items()
        ],
        betas=config.betas,
        eps=config.eps,
        fused=all(parameter.device.type in ("cpu", "cuda") for parameter in trained),
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
        assign(state, tensor)
        optimizer.state[parameter][key] = state

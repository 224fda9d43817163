"""AdamW (Loshchilov and Hutter, 2019), with weight decay on matrices only.

    m ← β₁m + (1 − β₁)g        v ← β₂v + (1 − β₂)g²
    θ ← θ − sη · (λθ + m̂ / (√v̂ + ε))     λ = 0 where θ has fewer than two dimensions

Biases and the gains of norms do not decay, as in BERT.
s is the multiplier of the parameter's learning rate; where it is 0 the parameter is frozen.
Muon may update the matrices of blocks instead (see `training.muon`), or SGD all parameters:

    m ← μm + g + λθ                    θ ← θ − sη m

The optimizer's state is kept under the names of the parameters, to be saved as plain tensors.
"""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.training.config import TrainingConfig
from plainformer.training.muon import Muon, block_matrices
from plainformer.training.parallel import assign

LearningRateMultipliers = Callable[[str], float]
"""Name of a parameter -> the factor of its learning rate; 0: it is frozen."""


def full_rate(name: str) -> float:
    """Return 1 for every parameter."""
    return 1.0


def build_optimizer(
    model: nn.Module, config: TrainingConfig, lr_multipliers: LearningRateMultipliers = full_rate
) -> torch.optim.Optimizer:
    """Return AdamW, Muon or SGD over the trained parameters, in groups of one multiplier each.

    A parameter with multiplier 0 is frozen: it no longer requires a gradient. A parameter that
    already was frozen stays so. A tied parameter has the multiplier of its first name. Raises
    UserError when every parameter is frozen.
    """
    matrices = block_matrices(model) if config.optimizer == "muon" else {}
    groups: dict[tuple[float, bool, bool, int], list[nn.Parameter]] = {}
    for name, parameter in model.named_parameters():
        multiplier = lr_multipliers(name)
        if multiplier == 0:
            parameter.requires_grad_(False)
        by_muon = parameter in matrices
        if by_muon:
            multiplier *= config.matrix_learning_rate / config.learning_rate
        if parameter.requires_grad:
            group = (multiplier, parameter.ndim >= 2, by_muon, matrices.get(parameter, 1))
            groups.setdefault(group, []).append(parameter)
    if not groups:
        raise UserError("every parameter is frozen: there is nothing to train")
    trained = [parameter for group in groups.values() for parameter in group]
    param_groups = [
        {
            "params": group,
            "lr_multiplier": multiplier,
            "lr": multiplier * config.learning_rate,
            "weight_decay": config.weight_decay if is_matrix else 0.0,
            "muon": by_muon,
            "parts": parts,
        }
        for (multiplier, is_matrix, by_muon, parts), group in groups.items()
    ]
    fused = all(parameter.device.type in ("cpu", "cuda", "mps", "xpu") for parameter in trained)
    if config.optimizer == "sgd":
        return torch.optim.SGD(param_groups, momentum=config.momentum, fused=fused)
    kind = Muon if config.optimizer == "muon" else torch.optim.AdamW
    return kind(param_groups, betas=config.betas, eps=config.eps, fused=fused)


def state_size(model: nn.Module, config: TrainingConfig) -> int:
    """Count the numbers of the optimizer's state: AdamW has two for each parameter, others one."""
    total = sum(parameter.numel() for parameter in model.parameters())
    if config.optimizer == "sgd":
        return total if config.momentum else 0
    matrices = block_matrices(model) if config.optimizer == "muon" else {}
    return 2 * total - sum(matrix.numel() for matrix in matrices)


def optimizer_tensors(model: nn.Module, optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's state as "parameter name.exp_avg", ".momentum_buffer" …"""
    return {
        f"{name}.{key}": value
        for name, parameter in model.named_parameters()
        for key, value in optimizer.state.get(parameter, {}).items()
    }


def restore_optimizer(
    model: nn.Module, optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]
) -> None:
    """Restore the state that `optimizer_tensors` returned, bit for bit.

    Raises KeyError for a tensor of a parameter that `model` lacks.
    """
    parameters = dict(model.named_parameters())
    for full_name, tensor in tensors.items():
        name, _, key = full_name.rpartition(".")
        parameter = parameters[name]
        # A fused step wants its counter on the parameter's device, its moments in its layout.
        state = torch.empty_like(tensor if key == "step" else parameter, device=parameter.device)
        assign(state, tensor)
        optimizer.state[parameter][key] = state

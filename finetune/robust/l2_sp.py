"""L2-SP: pull the weights towards the pretrained ones (Li, Grandvalet and Davoine 2018).

    loss + α/2 ‖θ − θ⁰‖² + β/2 ‖w‖²

θ are the weights of the encoder, θ⁰ their pretrained values, the starting point (SP), and w the
matrices of a new head, which has none (arXiv:1802.01483, eq. 4). Weight decay pulls towards 0, and
so away from what was pretrained. Here the penalty is added as its gradient, before a step:

    ∂/∂θ += α (θ − θ⁰)        ∂/∂w += β w

so that AdamW scales it as it scales the loss, and the optimizer itself decays nothing. Norms and
biases of the encoder are pulled, too; those of a new head are free.
"""

import torch
from torch import Tensor

from plainformer.encoder.pretrained import PretrainedModel
from plainformer.training.parallel import shard_like


class PullToStart:
    """A hook before each step that adds the gradient of the penalty.

    Its start is the model as it is now: a resumed run begins with the pretrained weights, too.
    """

    def __init__(self, model: PretrainedModel, strength: float, decay: float = 0.0) -> None:
        encoder = {id(parameter) for parameter in model.base.parameters()}
        self.strength, self.decay = strength, decay
        self.start: dict[str, Tensor] = {
            name: parameter.detach().clone()
            for name, parameter in model.named_parameters()
            if id(parameter) in encoder and name not in model.newly_initialised
        }

    @torch.no_grad()
    def __call__(self, model: PretrainedModel, step: int) -> None:
        """Add α (θ − θ⁰), or β w, to the gradient of each trained parameter."""
        for name, parameter in model.named_parameters():
            if parameter.grad is None:
                continue
            if name in self.start:
                if self.start[name].device != parameter.device:
                    self.start[name] = self.start[name].to(parameter.device)
                start = shard_like(self.start[name], parameter)
                parameter.grad.add_(parameter - start, alpha=self.strength)
            elif parameter.ndim >= 2:
                parameter.grad.add_(parameter, alpha=self.decay)

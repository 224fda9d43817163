"""BitFit (Ben Zaken et al. 2022, arXiv:2106.10199): train only the biases and the head.

    y = W x + b        W: frozen    b: trained, here and in every norm

A thousandth of the parameters, and none is added: the result is a model like any other.

    train_biases(model)
"""

from torch import nn

from plainformer.base import UserError
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.tuning.layers import freeze_base


def train_biases(model: PretrainedModel) -> None:
    """Freeze all of `model` but its biases and its head.

    Raises `UserError` for an encoder without biases, such as ModernBERT's.
    """
    if not biases(model.base.blocks):
        raise UserError("bitfit trains biases, and the layers of this model have none")
    freeze_base(model)
    for bias in biases(model):
        bias.requires_grad_(True)


def biases(module: nn.Module) -> list[nn.Parameter]:
    """Return the biases of the layers and norms of `module`."""
    return [p for name, p in module.named_parameters() if name.rpartition(".")[2] == "bias"]

"""Gradual unfreezing (Howard & Ruder 2018, arXiv:1801.06146, §3.3): first the head, then layer by
layer from the top.

    head, pooler, final norm    trained from step 0
    block L (the top one)       trained from step  1 · fraction · steps
    …
    block 1                     trained from step  L · fraction · steps
    embeddings                  trained from step (L + 1) · fraction · steps

The lower layers, which are general, are not spoilt by the gradients of a head that is still random.
A frozen parameter has no gradient: its moments do not move, and it does not decay. The step says
what is frozen, so a resumed run needs no more.

    train(…, before_step=unfreeze_gradually(fraction=0.1, steps=1000))
"""

from collections.abc import Callable

from torch import nn

from plainformer.encoder.pretrained import PretrainedModel


def unfreeze_gradually(fraction: float, steps: int) -> Callable[[PretrainedModel, int], None]:
    """Return a hook that drops the gradients of what is still frozen, before each step.

    `fraction`: share of the `steps` after which one more layer is trained.
    """

    def drop_gradients(model: PretrainedModel, step: int) -> None:
        for parameter, layers in layers_above(model).items():
            if step < round(layers * fraction * steps):
                parameter.grad = None

    return drop_gradients


def layers_above(model: PretrainedModel) -> dict[nn.Parameter, int]:
    """Count, for each parameter of blocks and embeddings, the layers up to it from the top.

    Blocks are counted: layers that share one are unfrozen together.
    """
    base = model.base
    layers = [base.embeddings, *base.blocks]
    found = {p: len(layers) - i for i, layer in enumerate(layers) for p in layer.parameters()}
    if base.distance_bias is not None:  # MPNet's table, which every layer reads
        found |= dict.fromkeys(base.distance_bias.parameters(), len(layers))
    return found

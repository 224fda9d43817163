"""Compute the learning-rate multiplier of each layer: smaller for lower ones, 0 if frozen.

    multiplier = decay ^ (steps down from the head)

    head, pooler, final norm   1
    block L (the top one)      decay
    …
    block 1                    decay ^ L
    embeddings                 decay ^ (L + 1)

Lower layers are general, upper ones specific to the pretraining task, so upper ones have to change
more (Howard & Ruder 2018, arXiv:1801.06146, §3.2). Steps are counted as in BEiT (Bao et al. 2021,
arXiv:2106.08254); ELECTRA skips a step between head and top block.

Blocks are counted, not layers. ALBERT's layers share one block: it is one step down, the embeddings
two, and it is frozen as a whole or not at all. MPNet's table of distances, which every layer reads,
counts as embeddings.
"""

from torch import nn

from plainformer.base import UserError
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.training import LearningRateMultipliers


def layer_multipliers(
    model: PretrainedModel, decay: float, freeze_embeddings: bool = False, freeze_layers: int = 0
) -> LearningRateMultipliers:
    """Return the multiplier of each parameter of `model`, by its name.

    `freeze_layers`: number of blocks, from the bottom, to freeze together with the embeddings.
    A parameter that is added later has the multiplier 1.

    Raises `UserError` when the model has fewer blocks than are to be frozen.
    """
    base = model.base
    layers = len(base.blocks)
    if freeze_layers > layers:
        shared = ", which all layers share" if model.config.share_layers else ""
        raise UserError(
            f"freeze_layers {freeze_layers} is more than the {layers} of this model{shared}"
        )
    freeze_embeddings = freeze_embeddings or freeze_layers > 0
    multipliers: dict[nn.Parameter, float] = {}
    for module in (base.embeddings, base.distance_bias):
        for parameter in module.parameters() if module is not None else ():
            multipliers[parameter] = 0.0 if freeze_embeddings else decay ** (layers + 1)
    for number, block in enumerate(base.blocks):
        for parameter in block.parameters():
            multipliers[parameter] = 0.0 if number < freeze_layers else decay ** (layers - number)
    by_name = {name: multipliers.get(p, 1.0) for name, p in model.named_parameters()}
    return lambda name: by_name.get(name, 1.0)

"""Re-initialise the top layers: they are too specific to pretraining (Zhang et al. 2021).

    layers L − k + 1 … L, and BERT's pooler: drawn anew, as before pretraining

With few examples, fine-tuning from the pretrained top layers is slower and less stable than from
fresh ones (arXiv:2006.05987, §4). The lower layers, which are general, stay.
"""

from plainformer.base import UserError
from plainformer.encoder.init import initialise
from plainformer.encoder.pretrained import PretrainedModel


def reinit_layers(model: PretrainedModel, count: int) -> None:
    """Draw the `count` top layers of a model, and its pooler, from torch's generator.

    Raises `UserError` for more layers than there are, or where all layers share one block.
    """
    blocks = model.base.blocks
    if model.config.share_layers:
        raise UserError("reinit_layers: all layers of this model share one block")
    if count > len(blocks):
        raise UserError(f"reinit_layers {count} is more than the {len(blocks)} of this model")
    modules = [*blocks[len(blocks) - count :], *filter(None, [model.base.pooler])]
    chosen = {id(parameter) for module in modules for parameter in module.parameters()}
    names = [name for name, parameter in model.named_parameters() if id(parameter) in chosen]
    initialise(model, model.config, only=names)
    model.newly_initialised = (*model.newly_initialised, *names)

"""Which share of the learning rate each layer gets: less the lower it stands, nothing if frozen.

    share = decay ^ (steps down from the head)

    head, pooler, final norm   1
    block L (the top one)      decay
    …
    block 1                    decay ^ L
    embeddings                 decay ^ (L + 1)

The lower layers hold what any task needs, the upper ones what the pretraining task needed, so the
upper ones have further to go (Howard & Ruder 2018, arXiv:1801.06146, §3.2). Counted as BEiT counts
(Bao et al. 2021, arXiv:2106.08254); ELECTRA skips a step between head and top block.

Counted are blocks of parameters. ALBERT's layers share one block: it stands one step down, the
embeddings two, and it is frozen as a whole or not at all. MPNet's table of distances, which every
layer reads, counts as embeddings.
"""

import re

from plainformer.base import UserError
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.training import Shares

BLOCK = re.compile(r"(?:^|\.)blocks\.(\d+)\.")
EMBEDDINGS = re.compile(r"(?:^|\.)(?:embeddings|distance_bias)\.")


def layer_shares(
    model: PretrainedModel, decay: float, freeze_embeddings: bool = False, freeze_layers: int = 0
) -> Shares:
    """The share of a parameter of `model`, by its name.

    `freeze_layers`: so many blocks from the bottom learn nothing, nor do the embeddings under them.
    Raises `UserError` when there are fewer blocks.
    """
    found = [BLOCK.search(name) for name, _ in model.named_parameters()]
    layers = max((int(match[1]) + 1 for match in found if match), default=0)
    if freeze_layers > layers:
        shared = ", which all layers share" if model.config.share_layers else ""
        raise UserError(
            f"freeze_layers {freeze_layers} is more than the {layers} of this model{shared}"
        )

    def share(name: str) -> float:
        if block := BLOCK.search(name):
            number = int(block[1])
            return 0.0 if number < freeze_layers else decay ** (layers - number)
        if EMBEDDINGS.search(name):
            return 0.0 if freeze_embeddings or freeze_layers else decay ** (layers + 1)
        return 1.0

    return share

"""Masked language modelling: −log p(token | the text without it), summed over what is asked for.

Devlin et al. 2018, arXiv:1810.04805. Nothing here knows why a token is asked for: causal language
modelling and denoising are this loss, too, on other batches.
"""

from plainformer.encoder import MaskedLM
from plainformer.pretrain.batch import MaskedBatch
from plainformer.pretrain.objectives.cross_entropy import cross_entropy_loss
from plainformer.training import Loss


def masked_lm(model: MaskedLM, batch: MaskedBatch) -> Loss:
    """The loss at the places that are asked for, and how many are guessed right ("accuracy").

    Logits are computed at these places only.
    """
    logits = model(batch.input_ids, sequences=batch.sequences, at=batch.target_positions)
    return cross_entropy_loss(logits, batch.labels)

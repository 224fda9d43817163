"""Masked language modelling: −log p(token | its masked text), summed over the masked tokens."""

from encoder import MaskedLM, ops
from pretrain.data import MaskedBatch
from training import Loss


def masked_lm(model: MaskedLM, batch: MaskedBatch) -> Loss:
    """The loss over the masked places, and how many of them are guessed right ("accuracy").

    Devlin et al. 2018, arXiv:1810.04805. Logits are computed at the masked places only.
    """
    logits = model(batch.input_ids, sequences=batch.sequences, at=batch.at)
    correct = (logits.detach().argmax(-1) == batch.labels).sum()
    return Loss(ops.cross_entropy(logits, batch.labels), len(batch.labels), {"accuracy": correct})

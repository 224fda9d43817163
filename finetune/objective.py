"""Classification: −log p(label | text), summed over the texts."""

from encoder import SequenceClassifier, ops
from finetune.data import TextBatch
from training import Loss


def classification(model: SequenceClassifier, batch: TextBatch) -> Loss:
    """The cross-entropy of the labels, and how many are right ("accuracy")."""
    logits = model(batch.input_ids, None, batch.token_type_ids, batch.sequences)
    correct = (logits.detach().argmax(-1) == batch.labels).sum()
    return Loss(ops.cross_entropy(logits, batch.labels), len(batch.labels), {"accuracy": correct})

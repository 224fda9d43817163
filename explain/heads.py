"""Compute the outputs of a head on both sides as the same stages, a row for each token or text.

| model              | stage          | a row for each | of `transformers`                     |
|--------------------|----------------|----------------|---------------------------------------|
| `PairedMaskedLM`   | `token logits` | token          | `prediction_logits`                   |
|                    | `pair logits`  | text           | `seq_relationship_logits`, `sop_logits` |
| `QuestionAnswerer` | `logits`       | token          | `start_logits`, `end_logits`          |
| `ChoiceScorer`     | `logits`       | text           | `logits`, for the options of one text |
| `SequenceClassifier` | `logits`     | text           | `logits`                              |
| any other          | `logits`       | token          | `logits`                              |
"""

from typing import Any

import torch
from torch import Tensor

from plainformer.encoder import ChoiceScorer, PairedMaskedLM, QuestionAnswerer, SequenceClassifier
from plainformer.encoder.pretrained import PretrainedModel

Batch = dict[str, Tensor]


def run_theirs(theirs: Any, ours: PretrainedModel, batch: Batch) -> Any:
    """Run their model on one of our batches; all its texts are the options of one question."""
    if isinstance(ours, ChoiceScorer):
        batch = {name: rows[None] for name, rows in batch.items()}
    return theirs(**batch, return_dict=True)


def our_outputs(ours: PretrainedModel, batch: Batch) -> dict[str, Tensor]:
    """Compute the stages of our head, `(rows, size)`."""
    output = ours(**batch)
    if isinstance(ours, PairedMaskedLM):
        return _rows(ours, batch, {"token logits": output[0], "pair logits": output[1]})
    if isinstance(ours, QuestionAnswerer):
        output = torch.stack(output, dim=-1)
    return _rows(ours, batch, {"logits": output})


def their_outputs(theirs: Any, ours: PretrainedModel, batch: Batch) -> dict[str, Tensor]:
    """Compute the same stages of their head."""
    output = run_theirs(theirs, ours, batch)
    if isinstance(ours, PairedMaskedLM):
        pairs = output.sop_logits if "sop_logits" in output else output.seq_relationship_logits
        outputs = {"token logits": output.prediction_logits, "pair logits": pairs}
    elif isinstance(ours, QuestionAnswerer):
        outputs = {"logits": torch.stack([output.start_logits, output.end_logits], dim=-1)}
    elif isinstance(ours, ChoiceScorer):
        outputs = {"logits": output.logits.T}  # (1, texts) → (texts, 1)
    else:
        outputs = {"logits": output.logits}
    return _rows(ours, batch, outputs)


def _rows(ours: PretrainedModel, batch: Batch, outputs: dict[str, Tensor]) -> dict[str, Tensor]:
    """Drop padding: `(batch, seq, …)` → `(tokens, size)`; leave `(batch, size)` unchanged."""
    real = batch["attention_mask"].bool()
    rows: dict[str, Tensor] = {}
    for name, output in outputs.items():
        whole = isinstance(ours, SequenceClassifier | ChoiceScorer) or name == "pair logits"
        found = output if whole else output[real]
        rows[name] = found.reshape(len(found), -1)
    return rows

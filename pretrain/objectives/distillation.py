"""Distillation: learn the predictions of a teacher beside the masked tokens.

    loss = s · T² · KL(softmax(teacher / T) ‖ softmax(student / T)) + (1 − s) · −log p(token)

at the masked positions (Hinton et al. 2015, arXiv:1503.02531; for BERT: DistilBERT, Sanh et al.
2019, arXiv:1910.01108). T² keeps the gradient of the soft part as large as that of the hard one.
The teacher reads the same masked text; it is neither trained nor saved with the student.
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch.nn import functional as F

from plainformer.base import UserError
from plainformer.encoder import MaskedLM
from plainformer.pretrain.batch import MaskedBatch
from plainformer.pretrain.objectives.cross_entropy import cross_entropy_loss
from plainformer.tokenizer import Tokenizer, load_tokenizer
from plainformer.training import Loss


@dataclass(frozen=True)
class Distillation:
    """The loss of masked language modelling with soft targets."""

    teacher: MaskedLM
    temperature: float = 2.0
    soft_share: float = 0.5

    def __call__(self, model: MaskedLM, batch: MaskedBatch) -> Loss:
        """Mix both losses; the metrics "hard" and "soft" are the two, without T² and shares."""
        teacher = self.teacher.to(batch.input_ids.device)
        inputs = {"sequences": batch.sequences, "target_positions": batch.target_positions}
        with torch.no_grad():
            taught = teacher(batch.input_ids, **inputs).float()  # (targets, vocab)
        logits = model(batch.input_ids, **inputs).float()
        # A vocabulary may be padded to a round number: padding is no token.
        size = min(taught.shape[1], logits.shape[1])
        taught, own = taught[:, :size], logits[:, :size]
        soft = F.kl_div(
            (own / self.temperature).log_softmax(-1),
            (taught / self.temperature).log_softmax(-1),
            reduction="sum",
            log_target=True,
        )
        hard = cross_entropy_loss(logits, batch.labels)
        share = self.soft_share
        total = share * self.temperature**2 * soft + (1 - share) * hard.total
        metrics = {**hard.metrics, "hard": hard.total.detach(), "soft": soft.detach()}
        return Loss(total, hard.items, metrics)


def load_teacher(folder: Path, tokenizer: Tokenizer, max_length: int) -> MaskedLM:
    """Load the masked LM in `folder`, frozen.

    Raises `UserError` when it has another tokenizer than the student, or fewer positions than
    `max_length`.
    """
    if load_tokenizer(folder).fingerprint() != tokenizer.fingerprint():
        raise UserError(
            f"the teacher in {folder} has another tokenizer: its token 17 is another token; give "
            f"its own with --tokenizer {folder}"
        )
    teacher = MaskedLM.from_pretrained(folder)
    tokenizer.check_vocabulary(teacher.config.vocab_size, f"the teacher in {folder}")
    teacher.config.check_max_length(max_length, f"the teacher in {folder}")
    return teacher.requires_grad_(False)

"""Who takes part in `time_to_loss.py`: models of 4 layers × 128, ours and those of transformers."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Int
from torch import Tensor, nn

from plainformer.encoder import EncoderConfig, MaskedLM
from plainformer.pretrain.batch import MaskedBatch
from plainformer.pretrain.objectives import masked_lm
from plainformer.tokenizer import Tokenizer
from plainformer.training import Loss, TrainingConfig

LENGTH = 128
VOCABULARY = 8192
SHAPE = {"vocab_size": VOCABULARY, "hidden_size": 128, "num_hidden_layers": 4}


@dataclass(frozen=True)
class Entrant:
    """A model and how it is trained."""

    model: str
    """bert, modern: ours; hf-bert, hf-modern: those of transformers"""
    learning_rate: float
    tokens: float
    """how long: millions of tokens"""
    sequences: int = 8
    """of 128 tokens, in a step"""
    optimizer: str = "adamw"
    schedule: str = "linear"
    warmup: float = 0.1
    decay: float = 0.4
    mask_ratio: float = 0.15
    dropout: float | None = None
    """None: as published"""
    weight_decay: float = 0.01
    matrix_learning_rate: float = 0.01
    """of the matrices of the blocks, with muon"""
    initializer_range: float = 0.02
    seed: int = 0
    dense_head: bool = False
    """whether ours scores the vocabulary at every place, too"""

    @property
    def name(self) -> str:
        """One name for each."""
        given = {k: v for k, v in asdict(self).items() if v != DEFAULTS.get(k)}
        return " ".join(
            f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
            for key, value in given.items()
        )

    @property
    def pace(self) -> str:
        """What decides the time of a step."""
        what = (self.model, self.sequences, self.optimizer, self.mask_ratio, self.dense_head)
        return " ".join(map(str, (*what, self.dropout)))

    @property
    def config(self) -> TrainingConfig:
        """The settings of the loop."""
        return TrainingConfig(
            steps=round(self.tokens * 1e6 / (self.sequences * LENGTH)),
            learning_rate=self.learning_rate,
            optimizer=self.optimizer,
            matrix_learning_rate=self.matrix_learning_rate,
            schedule=self.schedule,
            warmup=self.warmup,
            decay=self.decay,
            weight_decay=self.weight_decay,
            seed=self.seed,
        )


DEFAULTS = {name: field.default for name, field in Entrant.__dataclass_fields__.items()}


class Theirs(nn.Module):
    """A masked language model of transformers, given what a packed batch holds, padded."""

    def __init__(self, kind: str, dropout: float | None) -> None:
        super().__init__()
        import transformers

        if kind == "hf-bert":
            shares = (
                {}
                if dropout is None
                else {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
            )
            config = transformers.BertConfig(
                **SHAPE,
                num_attention_heads=2,
                intermediate_size=512,
                max_position_embeddings=LENGTH,
                **shares,
            )
            self.model = transformers.BertForMaskedLM(config)
        else:
            config = transformers.ModernBertConfig(
                **SHAPE,
                num_attention_heads=2,
                intermediate_size=256,
                max_position_embeddings=LENGTH,
                sparse_prediction=True,
                pad_token_id=0,
                cls_token_id=2,
                sep_token_id=3,
                bos_token_id=2,
                eos_token_id=3,
            )
            self.model = transformers.ModernBertForMaskedLM(config)


def padded(batch: MaskedBatch) -> dict[str, Int[Tensor, "sequences length"]]:
    """A batch as a model of transformers takes it."""
    lengths = batch.sequences.lengths
    rows = [torch.split(x, list(lengths)) for x in (batch.input_ids, labels_of(batch))]
    ids, labels = (
        nn.utils.rnn.pad_sequence(row, batch_first=True, padding_value=padding)
        for row, padding in zip(rows, (0, -100), strict=True)
    )
    mask = (torch.arange(ids.shape[1]) < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def theirs(model: Theirs, batch: MaskedBatch) -> Loss:
    """The loss of transformers, as a sum, as its users call it: what is timed."""
    return Loss(model.model(**padded(batch)).loss * len(batch.labels), len(batch.labels))


def theirs_at_masked(model: Theirs, batch: MaskedBatch) -> Loss:
    """The same number from the same modules, BERT's head at masked places only: what is trained.

    It takes half the time, and a loss after so many steps hangs on no clock.
    """
    if not hasattr(model.model, "bert"):
        return theirs(model, batch)
    given = padded(batch)
    labels = given.pop("labels")
    hidden = model.model.bert(**given).last_hidden_state[labels != -100]
    logits, labels = model.model.cls(hidden), labels[labels != -100]
    return Loss(nn.functional.cross_entropy(logits, labels, reduction="sum"), len(labels))


def labels_of(batch: MaskedBatch) -> Int[Tensor, " tokens"]:
    """What is asked for at each place, −100 where nothing is."""
    labels = torch.full_like(batch.input_ids, -100)
    labels[batch.target_positions] = batch.labels
    return labels


def dense(model: MaskedLM, batch: MaskedBatch) -> Loss:
    """Our loss with the vocabulary scored at every place."""
    logits = model(batch.input_ids, sequences=batch.sequences)
    total = nn.functional.cross_entropy(logits, labels_of(batch), reduction="sum")
    return Loss(total, len(batch.labels))


def build(
    entrant: Entrant, tokenizer: Tokenizer, as_called: bool = True
) -> tuple[nn.Module, Callable[..., Loss]]:
    """A fresh model, and its loss: `as_called` by its users, or the same number sooner."""
    torch.manual_seed(entrant.seed)
    if entrant.model.startswith("hf-"):
        return Theirs(entrant.model, entrant.dropout), theirs if as_called else theirs_at_masked
    preset = {"bert": "bert-mini", "modern": "modern-tiny"}[entrant.model]
    width = {"bert": 512, "modern": 256}[entrant.model]
    shape = EncoderConfig.preset(
        preset,
        **SHAPE,
        num_attention_heads=2,
        intermediate_size=width,
        max_position_embeddings=LENGTH,
        pad_token_id=tokenizer.pad_id,
        initializer_range=entrant.initializer_range,
    )
    model = MaskedLM(shape, dropout=entrant.dropout)
    return model, dense if entrant.dense_head else masked_lm

"""The models of `time_to_loss.py`, ours and those of transformers."""

from collections.abc import Callable
from dataclasses import asdict, dataclass

import torch
from jaxtyping import Int
from torch import Tensor, nn

from plainformer.encoder import EncoderConfig, MaskedLM
from plainformer.pretrain.batch import MaskedBatch
from plainformer.pretrain.neighbours import add_neighbour_heads
from plainformer.pretrain.objectives import masked_lm
from plainformer.tokenizer import Tokenizer
from plainformer.training import Loss, TrainingConfig

LENGTH = 128
VOCABULARY = 8192
WIDTHS = {"bert": {128: 512, 256: 1024}, "modern": {128: 256, 256: 384}}
"""Entries of the feed-forward layer, by model and hidden size: those of the presets."""


@dataclass(frozen=True)
class Candidate:
    """A model and its training settings."""

    model: str  # ours: bert, modern; of transformers: hf-bert, hf-modern
    learning_rate: float
    tokens: float  # millions
    sequences: int = 8  # of 128 tokens, per step
    optimizer: str = "adamw"
    schedule: str = "linear"
    warmup: float = 0.1
    decay: float = 0.4
    mask_ratio: float = 0.15
    dropout: float | None = None  # None: as published
    weight_decay: float = 0.01
    matrix_learning_rate: float = 0.01  # with Muon
    initializer_range: float = 0.02
    seed: int = 0
    layers: int = 4
    hidden: int = 128
    neighbours: bool = False  # begin with neighbour heads
    dense_head: bool = False  # compute logits at every position, not at masked ones alone

    @property
    def name(self) -> str:
        """Return the model and all settings that differ from the defaults."""
        given = {k: v for k, v in asdict(self).items() if v != DEFAULTS.get(k)}
        return " ".join(
            f"{key}={value:g}" if isinstance(value, float) else f"{key}={value}"
            for key, value in given.items()
        )

    @property
    def timing_key(self) -> str:
        """Return the settings that determine the time of a step."""
        settings = (self.model, self.layers, self.hidden, self.sequences, self.optimizer)
        return " ".join(map(str, (*settings, self.mask_ratio, self.dense_head, self.dropout)))

    def shape(self, vocabulary: int) -> dict[str, int]:
        """Return the sizes of the model, under the names of its config."""
        return {
            "vocab_size": vocabulary,
            "hidden_size": self.hidden,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.hidden // 64,
            "intermediate_size": WIDTHS[self.model.removeprefix("hf-")][self.hidden],
            "max_position_embeddings": LENGTH,
        }

    @property
    def config(self) -> TrainingConfig:
        """Return the settings of the training loop."""
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


DEFAULTS = {name: field.default for name, field in Candidate.__dataclass_fields__.items()}


class Theirs(nn.Module):
    """A masked language model of transformers that takes a packed batch and pads it."""

    def __init__(self, candidate: Candidate, vocabulary: int) -> None:
        super().__init__()
        import transformers

        dropout = candidate.dropout
        if candidate.model == "hf-bert":
            shares = (
                {}
                if dropout is None
                else {"hidden_dropout_prob": dropout, "attention_probs_dropout_prob": dropout}
            )
            config = transformers.BertConfig(**candidate.shape(vocabulary), **shares)
            self.model = transformers.BertForMaskedLM(config)
        else:
            config = transformers.ModernBertConfig(
                **candidate.shape(vocabulary),
                sparse_prediction=True,
                pad_token_id=0,
                cls_token_id=2,
                sep_token_id=3,
                bos_token_id=2,
                eos_token_id=3,
            )
            self.model = transformers.ModernBertForMaskedLM(config)


def padded(batch: MaskedBatch) -> dict[str, Int[Tensor, "sequences length"]]:
    """Pad a batch for a model of transformers."""
    lengths = batch.sequences.lengths
    rows = [torch.split(x, list(lengths)) for x in (batch.input_ids, labels_of(batch))]
    ids, labels = (
        nn.utils.rnn.pad_sequence(row, batch_first=True, padding_value=padding)
        for row, padding in zip(rows, (0, -100), strict=True)
    )
    mask = (torch.arange(ids.shape[1]) < torch.tensor(lengths)[:, None]).long()
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def theirs(model: Theirs, batch: MaskedBatch) -> Loss:
    """Return the summed loss of transformers as its users compute it; this one is timed."""
    return Loss(model.model(**padded(batch)).loss * len(batch.labels), len(batch.labels))


def theirs_at_masked(model: Theirs, batch: MaskedBatch) -> Loss:
    """Return the same loss from the same modules, with BERT's head at masked positions only.

    Training uses this one: it takes half the time and gives the same loss after each step.
    """
    if not hasattr(model.model, "bert"):
        return theirs(model, batch)
    given = padded(batch)
    labels = given.pop("labels")
    hidden = model.model.bert(**given).last_hidden_state[labels != -100]
    logits, labels = model.model.cls(hidden), labels[labels != -100]
    return Loss(nn.functional.cross_entropy(logits, labels, reduction="sum"), len(labels))


def labels_of(batch: MaskedBatch) -> Int[Tensor, " tokens"]:
    """Return the label of each position, −100 where none is predicted."""
    labels = torch.full_like(batch.input_ids, -100)
    labels[batch.target_positions] = batch.labels
    return labels


def dense(model: MaskedLM, batch: MaskedBatch) -> Loss:
    """Compute our loss with logits at every position."""
    logits = model(batch.input_ids, sequences=batch.sequences)
    total = nn.functional.cross_entropy(logits, labels_of(batch), reduction="sum")
    return Loss(total, len(batch.labels))


def build(
    candidate: Candidate, tokenizer: Tokenizer, as_called: bool = True
) -> tuple[nn.Module, Callable[..., Loss]]:
    """Build a model and its loss: `as_called` by its users, or the faster equivalent."""
    torch.manual_seed(candidate.seed)
    if candidate.model.startswith("hf-"):
        return Theirs(candidate, tokenizer.vocab_size), theirs if as_called else theirs_at_masked
    preset = {"bert": "bert-mini", "modern": "modern-tiny"}[candidate.model]
    shape = EncoderConfig.preset(
        preset,
        **candidate.shape(tokenizer.vocab_size),
        pad_token_id=tokenizer.pad_id,
        initializer_range=candidate.initializer_range,
    )
    model = MaskedLM(shape, dropout=candidate.dropout)
    if candidate.neighbours:
        add_neighbour_heads(model.encoder)
    return model, dense if candidate.dense_head else masked_lm

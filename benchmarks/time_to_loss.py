"""How long until a small encoder has learned as much as the models of `transformers` have?

    python benchmarks/debian_text.py --out runs/debian
    python benchmarks/time_to_loss.py prepare runs/ttl --text runs/debian/*.jsonl
    python benchmarks/time_to_loss.py train runs/ttl GROUP …
    python benchmarks/time_to_loss.py time runs/ttl         on a quiet machine
    python benchmarks/time_to_loss.py report runs/ttl

All have 4 layers × 128 and the same 8k vocabulary, are trained by the same loop on the same pieces
of 128 tokens, and are measured on the same held-out pieces under the same masks (15 %).

A loss after so many steps hangs on no clock, so `train` may run anywhere, beside anything, in any
number of parts. Seconds for each step are measured apart (`time`): all entrants in turns, round
after round, medians. Time to loss is the one times the other, without evaluation and saving.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from jaxtyping import Int
from torch import Tensor, nn

from cellar import atomic_path
from encoder import EncoderConfig, MaskedLM
from pretrain.batch import MaskedBatch, together
from pretrain.corpus import Corpus
from pretrain.data import MaskedBatches, Pieces, fixed_batches, ordinary_ids
from pretrain.manifest import read_shards
from pretrain.masking import Masking
from pretrain.objectives import masked_lm
from pretrain.prepare import prepare_corpus
from tokenizer import Tokenizer, load_tokenizer, train_tokenizer
from training import Loss, TrainingConfig, evaluate
from training.loop import take_step
from training.muon import is_block_matrix
from training.optimizer import build_optimizer

LENGTH = 128
VOCABULARY = 8192
HELD_OUT_TOKENS = 50_000
EVALUATIONS = 16
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
    matrix_share: float = 1.0
    """share of the learning rate for the matrices of the blocks"""
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
    def config(self) -> TrainingConfig:
        """The settings of the loop."""
        return TrainingConfig(
            steps=round(self.tokens * 1e6 / (self.sequences * LENGTH)),
            learning_rate=self.learning_rate,
            optimizer=self.optimizer,
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


def theirs(model: Theirs, batch: MaskedBatch) -> Loss:
    """The loss of transformers, as a sum."""
    lengths = batch.sequences.lengths
    rows = [torch.split(x, list(lengths)) for x in (batch.input_ids, labels_of(batch))]
    ids, labels = (
        nn.utils.rnn.pad_sequence(row, batch_first=True, padding_value=padding)
        for row, padding in zip(rows, (0, -100), strict=True)
    )
    mask = (torch.arange(ids.shape[1]) < torch.tensor(lengths)[:, None]).long()
    loss = model.model(input_ids=ids, attention_mask=mask, labels=labels).loss
    return Loss(loss * len(batch.labels), len(batch.labels))


def labels_of(batch: MaskedBatch) -> Int[Tensor, " tokens"]:
    """What is asked for at each place, −100 where nothing is."""
    labels = torch.full_like(batch.input_ids, -100)
    labels[batch.at] = batch.labels
    return labels


def dense(model: MaskedLM, batch: MaskedBatch) -> Loss:
    """Our loss with the vocabulary scored at every place."""
    logits = model(batch.input_ids, sequences=batch.sequences)
    total = nn.functional.cross_entropy(logits, labels_of(batch), reduction="sum")
    return Loss(total, len(batch.labels))


def build(entrant: Entrant, tokenizer: Tokenizer) -> tuple[nn.Module, Callable[..., Loss]]:
    """A fresh model, and its loss."""
    torch.manual_seed(entrant.seed)
    if entrant.model.startswith("hf-"):
        return Theirs(entrant.model, entrant.dropout), theirs
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


def optimizer_of(entrant: Entrant, model: nn.Module) -> torch.optim.Optimizer:
    """The optimizer that it asks for."""
    blocks = {name for name, p in model.named_parameters() if is_block_matrix(name, p)}
    return build_optimizer(
        model, entrant.config, lambda name: entrant.matrix_share if name in blocks else 1.0
    )


@dataclass(frozen=True)
class Material:
    """The prepared text in a folder."""

    folder: Path

    @property
    def tokenizer(self) -> Tokenizer:
        """The one tokenizer."""
        return load_tokenizer(self.folder / "tokenizer")

    def batches(self, entrant: Entrant) -> MaskedBatches:
        """What it learns from."""
        tokenizer = self.tokenizer
        text = Pieces(read_shards(self.folder / "tokens", tokenizer, "train"), tokenizer, LENGTH)
        hide = Masking(tokenizer.mask_id, ordinary_ids(tokenizer), entrant.mask_ratio)
        return MaskedBatches(text, hide, entrant.sequences * LENGTH, seed=entrant.seed)

    def held_out(self) -> list[MaskedBatch]:
        """What all are measured on."""
        tokenizer = self.tokenizer
        text = Pieces(read_shards(self.folder / "tokens", tokenizer, "valid"), tokenizer, LENGTH)
        hide = Masking(tokenizer.mask_id, ordinary_ids(tokenizer))
        return together(list(fixed_batches(text, hide, 16 * LENGTH, HELD_OUT_TOKENS)))


def prepare(folder: Path, texts: Sequence[str]) -> None:
    """Learn the vocabulary and write the shards."""
    corpus = Corpus.of(tuple(texts), 0.02)
    if not (folder / "tokenizer").exists():
        lines = (document.text for document in corpus.documents())
        train_tokenizer(lines, kind="wordpiece", vocab_size=VOCABULARY).save(folder / "tokenizer")
    tokenizer = load_tokenizer(folder / "tokenizer")
    prepare_corpus(corpus, tokenizer, folder / "tokens")


def train(material: Material, entrant: Entrant) -> None:
    """Train, and leave the held-out losses in curves/NAME.json, unless they are there."""
    path = material.folder / "curves" / f"{entrant.name}.json"
    if path.exists():
        return
    path.parent.mkdir(exist_ok=True)
    config, held_out = entrant.config, material.held_out()
    model, loss = build(entrant, material.tokenizer)
    batches, optimizer = material.batches(entrant), optimizer_of(entrant, model)
    due = {round(config.steps * (i + 1) / EVALUATIONS) for i in range(EVALUATIONS)}
    curve: list[tuple[int, float]] = []
    model.train()
    for step in range(config.steps):
        take_step(model, loss, batches, optimizer, config, step)
        if step + 1 in due:
            score = evaluate(model, loss, held_out)["loss"]
            curve.append((step + 1, score))
            print(f"{entrant.name}: step {step + 1}/{config.steps}  {score:.3f}", flush=True)
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps({"entrant": asdict(entrant), "curve": curve}))


def main() -> None:
    """Do what is asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=["prepare", "train", "time", "report"])
    parser.add_argument("folder", type=Path)
    parser.add_argument("groups", nargs="*")
    parser.add_argument("--text", nargs="*", default=[])
    options = parser.parse_args()
    material = Material(options.folder)
    if options.what == "prepare":
        prepare(options.folder, options.text)
    elif options.what == "train":
        for group in options.groups:
            for entrant in [Entrant(**json.loads(group))] if group[0] == "{" else GROUPS[group]:
                train(material, entrant)


if __name__ == "__main__":
    main()

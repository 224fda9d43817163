"""The workloads of `speed.py`: real text of realistic lengths, and models.

Lengths are drawn from a log-normal distribution (σ = 0.65, as of sentences and paragraphs) with the
given mean, clipped at the longest. Random lines of the dictionary GCIDE are joined and cut to these
lengths, so that words have realistic frequencies. All draws are seeded. The material is in one
folder, and missing files are made:

    text.txt  stsb.jsonl       20,000 lines of GCIDE; the test part of STS-B, for Spearman
    minilm/                    all-MiniLM-L6-v2 of the catalogue, with its tokenizer
    classifier/                the same with an untrained classifier on it
    bert-base/ bert-mini/ bert-mini-8k/ modern-small/
                               published shapes with seeded random weights
"""

import json
import random
import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from plainformer.base import read_json
from plainformer.corpora import fetch
from plainformer.encoder import EncoderConfig, MaskedLM, SequenceClassifier, Sequences
from plainformer.encoder.flops import encoder_flops, masked_lm_flops
from plainformer.encoder.weights import family_of
from plainformer.finetune.task_file import save_task
from plainformer.finetune.tasks.classification import Classification
from plainformer.pretrain.batch import MaskedBatch, PackedText
from plainformer.pretrain.masking import Masking, ordinary_ids
from plainformer.tokenizer import Tokenizer, load_tokenizer

Kind = Literal["embed", "int8", "mlm", "classify", "tokenise", "load"]
LINES = 20_000
TASK = Classification(labels=("even", "odd"), max_length=128)
"""The task of fine-tuning: whether a text has an even number of tokens."""
SPREAD = 0.65
ON_CUDA = 16
"""A factor for the number of texts on a GPU, which larger batches keep busy."""
CALIBRATION = 300
"""The number of texts on which ranges of activations are found for int8."""
LENGTHS = (8, 16, 32, 64, 128)
SHAPES = {
    "bert-base": EncoderConfig.preset("bert-base"),
    "bert-mini": EncoderConfig.preset("bert-mini"),
    "bert-mini-8k": EncoderConfig.preset("bert-mini", vocab_size=8192),
    "modern-small": EncoderConfig.preset("modern-small", vocab_size=30522, pad_token_id=0),
}


@dataclass(frozen=True)
class Workload:
    """The texts, their lengths, the model, and the work to do."""

    title: str
    kind: Kind
    model: str
    mean: int
    """Mean tokens of a text, including special ones."""
    longest: int
    texts: int
    """Number of texts in all, or, in training, per step."""
    calls: int = 1
    """Number of calls for the texts of a round, or, in training, steps of a round."""
    lengths: tuple[int, ...] = ()
    """The lengths of the texts, in turn, where they are not drawn; each is reported by itself."""

    @property
    def is_training(self) -> bool:
        """Tell whether the workload trains, which costs three forward passes per text."""
        return self.kind in ("mlm", "classify")


WORKLOADS = {
    "single": Workload("single short texts", "embed", "minilm", 41, 128, 32, calls=32),
    "lengths": Workload("single texts by length", "embed", "minilm", 50, 128, 50, 50, LENGTHS),
    "base-lengths": Workload(
        "single texts by length", "embed", "bert-base", 50, 128, 50, 50, LENGTHS
    ),
    "short": Workload("short texts", "embed", "minilm", 41, 128, 256),
    "long": Workload("long texts", "embed", "minilm", 185, 512, 64),
    "base-short": Workload("short texts", "embed", "bert-base", 41, 128, 64),
    "base-long": Workload("long texts", "embed", "bert-base", 185, 512, 16),
    "8k": Workload("texts of 8,192 tokens", "embed", "modern-small", 8192, 8192, 2),
    "int8": Workload("short texts in int8", "int8", "minilm", 41, 128, 256),
    "int8-single": Workload("single texts in int8", "int8", "minilm", 41, 128, 32, calls=32),
    "mlm-fixed": Workload("MLM steps of 128 tokens", "mlm", "bert-mini-8k", 128, 128, 32, calls=4),
    "mlm": Workload("MLM steps of short texts", "mlm", "bert-mini", 42, 128, 96, calls=4),
    "mlm-base": Workload("MLM steps of long texts", "mlm", "bert-base", 185, 512, 16, calls=2),
    "finetune": Workload("fine-tuning steps", "classify", "classifier", 40, 128, 32, calls=4),
    "tokenise": Workload("tokenising, one thread", "tokenise", "minilm", 41, 128, 4096),
    "load": Workload("loading, and one text", "load", "minilm", 41, 128, 1),
}


@dataclass(frozen=True)
class Case:
    """A workload on a device, with its material."""

    name: str
    workload: Workload
    material: Path
    device: torch.device
    precision: Literal["fp32", "bf16"] = "fp32"

    @property
    def folder(self) -> Path:
        """Return the folder of the model."""
        return self.material / self.workload.model

    @property
    def dtype(self) -> torch.dtype:
        """Return the number format of the matrix products."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    @cached_property
    def tokenizer(self) -> Tokenizer:
        """Load our tokenizer, which counts the tokens."""
        return load_tokenizer(self.folder)

    @cached_property
    def config(self) -> EncoderConfig:
        """Return the configuration of the model."""
        raw = read_json(self.folder / "config.json")
        return family_of(raw).read_config(raw)

    @cached_property
    def texts(self) -> list[str]:
        """Return the texts of a round, in random order, cut to their drawn lengths."""
        work, lines = self.workload, read_lines(self.material / "text.txt")
        count = work.texts * (work.calls if work.is_training else 1)
        if work.lengths:
            sizes = [work.lengths[i % len(work.lengths)] for i in range(count)]
        else:
            sizes = draw_lengths(count, work.mean, work.longest)
        return [cut_text(lines, size, self.tokenizer, seed) for seed, size in enumerate(sizes)]

    @cached_property
    def calibration(self) -> list[str]:
        """Return other texts, on which the ranges of activations are found for int8."""
        lines, longest = read_lines(self.material / "text.txt"), self.workload.longest
        sizes = np.random.default_rng(1).integers(4, longest, CALIBRATION)
        return [cut_text(lines, size, self.tokenizer, 1000 + n) for n, size in enumerate(sizes)]

    @cached_property
    def ids(self) -> list[list[int]]:
        """Return the texts as ids, with [CLS] and [SEP]."""
        longest = self.workload.longest
        return [self.tokenizer.encode(text, max_length=longest).ids for text in self.texts]

    @cached_property
    def inputs(self) -> Sequence[list[str]] | Sequence[MaskedBatch] | Sequence["Labelled"]:
        """Return the arguments of each call of a contender."""
        size = -(-len(self.texts) // self.workload.calls)
        starts = range(0, len(self.texts), size)
        if self.workload.kind == "mlm":
            return [self.masked(self.ids[i : i + size], seed=i) for i in starts]
        if self.workload.kind == "classify":
            return [Labelled.of(self.ids[i : i + size]) for i in starts]
        return [self.texts[i : i + size] for i in starts]

    def masked(self, ids: list[list[int]], seed: int) -> MaskedBatch:
        """Mask a batch for MLM; ids are folded into a smaller vocabulary."""
        tokenizer, vocabulary = self.tokenizer, self.config.vocab_size
        flat = np.concatenate(sorted(ids, key=len))
        special = np.isin(flat, list(tokenizer.special_ids))
        lengths = tuple(sorted(map(len, ids)))
        text = PackedText(flat % vocabulary, np.arange(len(flat)), special, lengths)
        ordinary = ordinary_ids(tokenizer)
        masking = Masking(tokenizer.mask_id % vocabulary, ordinary[ordinary < vocabulary])
        return masking(text, np.random.default_rng(seed))

    @property
    def tokens(self) -> int:
        """Return the real tokens of a round."""
        return sum(map(len, self.ids))

    @property
    def flops(self) -> int:
        """Return the operations of the real tokens of a round, by `encoder.flops`."""
        if self.workload.kind == "mlm":
            return 3 * sum(
                masked_lm_flops(self.config, batch.sequences, len(batch.labels))
                for batch in self.inputs
            )
        sequences = Sequences.of([len(row) for row in self.ids])
        if self.workload.kind == "classify":  # which reads the first token of each text
            return 3 * encoder_flops(self.config, sequences, read=len(self.ids))
        return encoder_flops(self.config, sequences)


@dataclass(frozen=True)
class Labelled:
    """Texts as ids, each with its label of `TASK`."""

    ids: list[list[int]]
    labels: list[int]

    @classmethod
    def of(cls, ids: list[list[int]]) -> "Labelled":
        """Label texts by `TASK`."""
        return cls(ids, [len(row) % 2 for row in ids])


def open_case(name: str, material: Path, device: torch.device, precision: str, size: float) -> Case:
    """Open a workload by name, fetching its material; `size` scales the number of texts."""
    work = WORKLOADS[name]
    if work.kind not in ("tokenise", "load"):
        factor = size * (ON_CUDA if device.type == "cuda" and work.calls < work.texts else 1)
        count = max(1, round(work.texts * factor))
        work = replace(work, texts=count, calls=count if work.calls == work.texts else work.calls)
    case = Case(name, work, material, device, precision)
    prepare(material, work)
    return case


def prepare(material: Path, work: Workload) -> None:
    """Fetch and make missing material; only this needs a network."""
    material.mkdir(parents=True, exist_ok=True)
    if not (material / "text.txt").exists():
        lines = read_lines(fetch("gcide") / "train.txt")
        drawn = random.Random(0).sample(lines, LINES)
        (material / "text.txt").write_text("\n".join(drawn) + "\n", encoding="utf-8")
    if work.kind == "int8" and not (material / "stsb.jsonl").exists():
        shutil.copyfile(fetch("stsb") / "test.jsonl", material / "stsb.jsonl")
    minilm = material / "minilm"
    if not (minilm / "tokenizer.json").exists():
        shutil.copytree(fetch("minilm"), minilm, dirs_exist_ok=True)
    folder = material / work.model
    if not (folder / "config.json").exists():
        torch.manual_seed(0)
        model: MaskedLM | SequenceClassifier
        if work.kind == "classify":
            model = SequenceClassifier.from_pretrained(minilm, labels=TASK.labels)
            save_task(TASK, folder)
        else:
            model = MaskedLM(SHAPES[work.model])
        tokenizer = load_tokenizer(minilm)
        tokenizer.max_length = model.config.max_position_embeddings
        tokenizer.save(folder)
        model.save_pretrained(folder)


def read_lines(path: Path) -> list[str]:
    """Return the lines that are not empty."""
    return [line for line in path.read_text(encoding="utf-8").split("\n") if line.strip()]


def read_pairs(material: Path) -> list[dict[str, str]]:
    """Return pairs of sentences with their human similarity scores."""
    lines = (material / "stsb.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def draw_lengths(count: int, mean: int, longest: int) -> list[int]:
    """Draw log-normal lengths from 4 to `longest`; all are `longest` if that is the mean."""
    if mean == longest:
        return [longest] * count
    rng = np.random.default_rng(0)
    drawn = rng.lognormal(np.log(mean) - SPREAD**2 / 2, SPREAD, count)
    return np.clip(np.rint(drawn), 4, longest).astype(int).tolist()


def cut_text(lines: list[str], size: int, tokenizer: Tokenizer, seed: int) -> str:
    """Join random lines, and cut them at `size` tokens, including [CLS] and [SEP]."""
    rng = random.Random(seed)
    text, tokens = "", tokenizer.tokens("")
    while len(tokens) < size - 2:
        text = f"{text} {rng.choice(lines)}".strip()
        tokens = tokenizer.tokens(text)
    return text[: tokens.offsets[size - 3][1]]

"""Define what `gpu_speed.py` times: shapes of models, lengths of texts, batches, the device.

Models have random weights of the published shapes. Texts are random ids with log-normal lengths,
like paragraphs ("mixed": mean 185, at most 512) or short texts (mean 41, at most 128), or all of
one length.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn

from plainformer.encoder import EncoderConfig, Sequences
from plainformer.encoder.flops import encoder_flops, masked_lm_flops
from plainformer.pretrain.batch import MaskedBatch
from plainformer.training import TrainingConfig

SPREAD = 0.65
"""The σ of the log-normal lengths."""
MASKED = 0.15
LARGE = {
    "hidden_size": 1024,
    "num_hidden_layers": 24,
    "num_attention_heads": 16,
    "intermediate_size": 4096,
}
SHAPES = {
    "BERT-base": EncoderConfig.preset("bert-base"),
    "modern-base": EncoderConfig.preset("modern-base"),
    "BERT-large": EncoderConfig.preset("bert-base", **LARGE),
}
TINY = {
    "BERT-base": EncoderConfig.preset("bert-tiny", vocab_size=1000),
    "modern-base": EncoderConfig.preset("modern-tiny", vocab_size=1000, pad_token_id=0),
    "BERT-large": EncoderConfig.preset("bert-tiny", vocab_size=1000, num_hidden_layers=3),
}
Kind = Literal["mlm", "classify", "embed"]


Call = Callable[[], Tensor]
"""Do the work once; return the loss, or the vectors of all texts on the host."""


class LeftOut(Exception):
    """The error of a contender that cannot run here."""


@dataclass(frozen=True)
class Bench:
    """The device and the number format of the measurements."""

    device: torch.device

    @property
    def is_gpu(self) -> bool:
        """Return whether this is no trial on a CPU."""
        return self.device.type != "cpu"

    @property
    def number_format(self) -> torch.dtype:
        """Return bf16, or fp32 on a CPU."""
        return torch.bfloat16 if self.is_gpu else torch.float32

    @property
    def settings(self) -> TrainingConfig:
        """Return settings with a small constant rate, so that losses stay comparable."""
        return TrainingConfig(
            learning_rate=1e-5,
            schedule="constant",
            warmup=0.0,
            precision="bf16" if self.is_gpu else "fp32",
            device=str(self.device),
        )


@dataclass(frozen=True)
class Work:
    """Texts, and what is done with them: a training step, or vectors for all of them."""

    title: str
    kind: Kind
    model: str
    texts: int
    mean: int | None
    """The mean length; None: all have the largest."""
    longest: int
    at_once: int = 0
    """Texts of one call of inference; 0: all."""
    is_tiny: bool = False

    @property
    def config(self) -> EncoderConfig:
        """Return the config; pretraining is without dropout, so that losses can be compared."""
        config = (TINY if self.is_tiny else SHAPES)[self.model]
        return config.with_dropout(0.0) if self.kind == "mlm" else config

    @cached_property
    def lengths(self) -> list[int]:
        """Return the lengths of the texts, shorter ones first."""
        if self.mean is None:
            return [self.longest] * self.texts
        location = np.log(self.mean) - SPREAD**2 / 2
        drawn = np.random.default_rng(0).lognormal(location, SPREAD, self.texts)
        return sorted(np.clip(np.rint(drawn), 4, self.longest).astype(int).tolist())

    @cached_property
    def batch(self) -> MaskedBatch:
        """Draw ids, and labels: the tokens at 15 % of the positions, or one for each text."""
        rng = np.random.default_rng(0)
        ids = rng.integers(5, min(self.config.vocab_size, 20_000), sum(self.lengths))
        at = np.sort(rng.permutation(len(ids))[: max(1, int(MASKED * len(ids)))])
        labels = ids[at]
        if self.kind != "mlm":  # at the first token of each text
            at, labels = np.cumsum([0, *self.lengths[:-1]]), np.arange(self.texts) % 2
        input_ids, positions, targets = map(torch.from_numpy, (ids, at, labels))
        return MaskedBatch(input_ids, Sequences.of(self.lengths), positions, targets)

    @property
    def calls(self) -> int:
        """Return the number of calls that the texts take."""
        return -(-self.texts // self.at_once) if self.at_once else 1

    @cached_property
    def flops(self) -> int:
        """Count the operations on real tokens; a training step has three forward passes."""
        sequences = self.batch.sequences
        if self.kind == "mlm":
            return 3 * masked_lm_flops(self.config, sequences, len(self.batch.labels))
        if self.kind == "classify":  # which reads the first token of each text
            return 3 * encoder_flops(self.config, sequences, read=len(self.lengths))
        return encoder_flops(self.config, sequences)


def portions(batch: MaskedBatch, sizes: Sequence[int]) -> Iterator[MaskedBatch]:
    """Split a batch into portions of so many texts each."""
    ends = np.cumsum([0, *batch.sequences.lengths])
    first = 0
    for size in sizes:
        last = first + size
        low, high = ends[first], ends[last]
        at = batch.target_positions
        inside = (at >= low) & (at < high)
        sequences = Sequences.of(batch.sequences.lengths[first:last])
        targets = at[inside] - int(low), batch.labels[inside]
        yield MaskedBatch(batch.input_ids[low:high], sequences, *targets)
        first = last


def even(total: int, parts: int) -> list[int]:
    """Divide a number of texts into parts of nearly equal size."""
    return [len(part) for part in np.array_split(np.arange(total), parts)]


def works(is_tiny: bool) -> dict[str, Work]:
    """List the works by name, the most important first."""
    small = 64 if is_tiny else 1  # a divisor of all counts

    def pretraining(model: str, mean: int | None, longest: int, tokens: int) -> Work:
        title = "mixed lengths" if mean else f"{longest} tokens each"
        count = max(2, tokens // (mean or longest) // small)
        return Work(f"MLM step, {title}", "mlm", model, count, mean, longest, 0, is_tiny)

    def short(title: str, kind: Kind, model: str, count: int, at_once: int = 0) -> Work:
        count, at_once = max(2, count // small), max(1, at_once // small) if at_once else 0
        return Work(title, kind, model, count, 41, 128, at_once, is_tiny)

    half, whole = 2**15, 2**16
    return {
        "mlm-base": pretraining("BERT-base", 185, 512, whole),
        "embed-base": short("vectors in batches", "embed", "BERT-base", 2048, 256),
        "finetune-base": short("fine-tuning step", "classify", "BERT-base", 32 * small),
        "mlm-modern": pretraining("modern-base", 185, 512, whole),
        "single-base": short("vectors one by one", "embed", "BERT-base", 64, 1),
        "embed-modern": short("vectors in batches", "embed", "modern-base", 2048, 256),
        "mlm-large": pretraining("BERT-large", 185, 512, half),
        "mlm-base-512": pretraining("BERT-base", None, 512, whole),
        "mlm-base-128": pretraining("BERT-base", None, 128, whole),
        "mlm-modern-512": pretraining("modern-base", None, 512, whole),
        "mlm-large-512": pretraining("BERT-large", None, 512, half),
        "mlm-large-128": pretraining("BERT-large", None, 128, half),
        "mlm-modern-128": pretraining("modern-base", None, 128, whole),
        "single-modern": short("vectors one by one", "embed", "modern-base", 64, 1),
        "finetune-large": short("fine-tuning step", "classify", "BERT-large", 32 * small),
    }


def unit(vectors: Tensor) -> Tensor:
    """Scale vectors to length 1, on the host."""
    return nn.functional.normalize(vectors, dim=-1).cpu()

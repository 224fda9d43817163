"""Measure training and inference speed on a GPU beside `transformers`: the third section.

Both sides use the same weights and batches in bf16 (autocast in training, bf16 weights in
inference), and take turns. Their first results are compared (losses to 2 %, vectors to 0.05) before
the timing. Padding does not count as tokens. Texts are random ids with log-normal lengths like
paragraphs ("mixed": mean 185, at most 512), or all of one length.

`transformers` gets padded batches from its collators, and computes logits at every position, as its
models do. It runs with sdpa, and with FlashAttention-2 where that is installed.
"""

import copy
import gc
import importlib.util
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from plainformer.encoder import (
    Encoder,
    EncoderConfig,
    MaskedLM,
    SequenceClassifier,
    Sequences,
    pool,
)
from plainformer.encoder.flops import encoder_flops, masked_lm_flops
from plainformer.encoder.ops import cross_entropy
from plainformer.encoder.packing import to_device
from plainformer.pretrain.batch import MaskedBatch
from plainformer.pretrain.objectives import masked_lm
from plainformer.training import Loss, Objective, TrainingConfig, autocast
from plainformer.training.optimizer import build_optimizer
from plainformer.training.parallel import ModelCall, layers_in_training
from plainformer.training.peak import synchronize
from plainformer.training.step import take_step

SPREAD = 0.65
"""The σ of the log-normal lengths."""
SETTINGS = TrainingConfig(learning_rate=1e-5, schedule="constant", warmup=0.0, precision="bf16")
Call = Callable[[], np.ndarray]
Make = Callable[[], Call]


@dataclass
class Bench:
    """The device, the size of the measurements, the peak, and the deadline."""

    device: torch.device
    tiny: bool
    peak: float
    deadline: float
    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp()))

    @property
    def seconds(self) -> float:
        """Return the seconds for which a measurement repeats its calls."""
        return 1.0 if self.tiny else 12.0


def measurements(bench: Bench) -> Iterator[tuple[str, float, Callable[[], dict[str, Any]]]]:
    """List the measurements: name, seconds needed, and function."""
    shapes = {"BERT-base": "bert-base", "modern-base": "modern-base"}
    if bench.tiny:
        shapes = {"BERT-base": "bert-tiny", "modern-base": "modern-tiny"}
    needed = 3 * bench.seconds
    for title in ("mixed", "128", "512"):
        for name, preset in shapes.items():
            yield (
                f"MLM {name}, {title} tokens",
                needed,
                lambda p=preset, t=title: pretraining(bench, p, lengths(bench, t, 16_384)),
            )
        if title == "mixed":
            yield "fine-tuning BERT-base", needed, lambda: finetuning(bench, shapes["BERT-base"])
            yield "inference BERT-base", needed, lambda: inference(bench, shapes["BERT-base"], 256)
            yield "one text BERT-base", needed, lambda: inference(bench, shapes["BERT-base"], 1)
            yield (
                "inference modern-base",
                needed,
                lambda: inference(bench, shapes["modern-base"], 256),
            )
    for name, preset in shapes.items():
        yield (
            f"MLM {name}, 512 tokens, four times the batch",
            needed,
            lambda p=preset: pretraining(bench, p, lengths(bench, "512", 65_536)),
        )
    for name, preset in shapes.items():
        yield (
            f"MLM {name}, compiled, mixed tokens",
            60 if not bench.tiny else needed,
            lambda p=preset: pretraining(bench, p, lengths(bench, "mixed", 16_384), compiled=True),
        )


def lengths(bench: Bench, title: str, tokens: int) -> list[int]:
    """Draw sequence lengths for a batch of about this many tokens."""
    tokens = tokens // 16 if bench.tiny else tokens
    if title != "mixed":
        return [int(title)] * max(1, tokens // int(title))
    return draw_lengths(mean=185, longest=512, count=max(2, tokens // 185))


def draw_lengths(mean: int, longest: int, count: int) -> list[int]:
    """Draw log-normal lengths, at least 4 tokens."""
    drawn = np.random.default_rng(0).lognormal(np.log(mean) - SPREAD**2 / 2, SPREAD, count)
    return np.clip(np.rint(drawn), 4, longest).astype(int).tolist()


# Pretraining and fine-tuning.


def pretraining(
    bench: Bench, preset: str, sizes: list[int], compiled: bool = False
) -> dict[str, Any]:
    """Time steps of masked language modelling, 15 % of the tokens predicted, without dropout."""
    config = EncoderConfig.preset(preset).with_dropout(0.0)
    torch.manual_seed(0)
    model = MaskedLM(config)
    batch = masked_batch(config, sizes)
    flops = 3 * masked_lm_flops(config, batch.sequences, len(batch.labels))
    return race(
        bench,
        {
            "plainformer": lambda: our_step(bench, model, masked_lm, batch, compiled),
            **{
                name: lambda a=attention: their_step(
                    bench, "AutoModelForMaskedLM", model, padded_mlm(batch), a, compiled
                )
                for name, attention in THEIRS.items()
            },
        },
        tokens=sum(sizes),
        flops=flops,
        tolerance=0.02,
    )


def finetuning(bench: Bench, preset: str) -> dict[str, Any]:
    """Time steps of classification, 32 short texts, with the published dropout of 0.1.

    The first losses differ by their dropout, so they are only compared roughly.
    """
    config = EncoderConfig.preset(preset)
    torch.manual_seed(0)
    model = SequenceClassifier(config)
    sizes = draw_lengths(mean=41, longest=128, count=32)
    batch = labelled_batch(config, sizes)
    return race(
        bench,
        {
            "plainformer": lambda: our_step(bench, model, classify, batch, False),
            **{
                name: lambda a=attention: their_step(
                    bench,
                    "AutoModelForSequenceClassification",
                    model,
                    padded(batch.input_ids, sizes) | {"labels": batch.labels},
                    a,
                    False,
                )
                for name, attention in THEIRS.items()
            },
        },
        tokens=sum(sizes),
        flops=3 * encoder_flops(config, batch.sequences),
        tolerance=0.5,
    )


def masked_batch(config: EncoderConfig, sizes: Sequence[int]) -> MaskedBatch:
    """Draw a packed batch of random ids, and the positions to predict."""
    generator = torch.Generator().manual_seed(0)
    sizes = sorted(sizes)
    ids = torch.randint(5, min(config.vocab_size, 20_000), (sum(sizes),), generator=generator)
    at = torch.randperm(len(ids), generator=generator)[: max(1, int(0.15 * len(ids)))].sort().values
    return MaskedBatch(ids, Sequences.of(sizes), at, ids[at])


def labelled_batch(config: EncoderConfig, sizes: Sequence[int]) -> MaskedBatch:
    """Draw a packed batch of random ids, with a label of 0 or 1 for each text."""
    drawn = masked_batch(config, sizes)
    return replace(drawn, labels=torch.arange(len(sizes)) % 2)


def classify(model: Any, batch: MaskedBatch) -> Loss:
    """Sum −log p(label) over the texts."""
    logits = model(batch.input_ids, sequences=batch.sequences)
    return Loss(cross_entropy(logits.float(), batch.labels), len(batch.labels))


def our_step(
    bench: Bench,
    model: nn.Module,
    objective: Objective[Any, Any],
    batch: MaskedBatch,
    compiled: bool,
) -> Call:
    """Build a function that takes a step with the loop of `training` and returns its loss."""
    there = copy.deepcopy(model).to(bench.device).train()
    settings = replace(SETTINGS, device=str(bench.device))
    optimizer = build_optimizer(there, settings)
    whole = ModelCall(there)
    count = 0
    if compiled:  # for as long as the measurement lasts: the layers are dropped with the model
        layers_in_training(there, compiled=True, recomputed=False).__enter__()

    def step() -> np.ndarray:
        nonlocal count
        fresh = replace(batch, sequences=Sequences.of(batch.sequences.lengths))
        taken = take_step(whole, objective, lambda _: [fresh], optimizer, settings, count)
        count += 1
        return np.array([float(taken.sums["loss"]) / taken.count])

    return step


def their_step(
    bench: Bench,
    kind: str,
    model: Any,
    batch: dict[str, Tensor],
    attention: str,
    compiled: bool,
) -> Call:
    """Build a function that takes a step with a class of `transformers` in a plain PyTorch loop."""
    there = theirs(bench, kind, model, attention).train()
    optimizer = build_optimizer(there, SETTINGS)
    called = torch.compile(there, dynamic=True) if compiled else there

    def step() -> np.ndarray:
        inputs = {name: to_device(x, bench.device) for name, x in batch.items()}
        with autocast(bench.device, "bf16"):
            loss = called(**inputs).loss
        loss.backward()
        nn.utils.clip_grad_norm_(there.parameters(), SETTINGS.clip_norm)
        optimizer.step()
        optimizer.zero_grad()
        return np.array([loss.item()])

    return step


# Inference.


def inference(bench: Bench, preset: str, count: int) -> dict[str, Any]:
    """Time text vectors in bf16 (mean pooling), for one text or a batch sorted by length."""
    config = EncoderConfig.preset(preset)
    torch.manual_seed(0)
    model = Encoder(config, pooler=False)
    sizes = sorted(draw_lengths(mean=41, longest=128, count=count))
    batch = masked_batch(config, sizes)
    return race(
        bench,
        {
            "plainformer": lambda: our_vectors(bench, model, batch),
            **{
                name: lambda a=attention: their_vectors(bench, model, batch.input_ids, sizes, a)
                for name, attention in THEIRS.items()
            },
        },
        tokens=sum(sizes),
        flops=encoder_flops(config, batch.sequences),
        tolerance=0.05,
    )


def our_vectors(bench: Bench, model: nn.Module, batch: MaskedBatch) -> Call:
    """Encode a packed batch with plainformer."""
    there = copy.deepcopy(model).to(bench.device, torch.bfloat16).eval()

    @torch.no_grad()
    def encode() -> np.ndarray:
        fresh = replace(batch, sequences=Sequences.of(batch.sequences.lengths)).to(bench.device)
        states = there(fresh.input_ids, sequences=fresh.sequences).last_hidden_state
        return unit(pool(states.float(), fresh.sequences, "mean"))

    return encode


def their_vectors(
    bench: Bench, model: Any, ids: Tensor, sizes: Sequence[int], attention: str, at_once: int = 32
) -> Call:
    """Encode 32 texts of similar length at a time with `transformers`, padded to the longest."""
    there = theirs(bench, "AutoModel", model, attention).to(torch.bfloat16).eval()
    texts = torch.split(ids, list(sizes))
    portions = [texts[i : i + at_once] for i in range(0, len(texts), at_once)]

    @torch.no_grad()
    def encode() -> np.ndarray:
        found = []
        for portion in portions:
            inputs = padded(torch.cat(portion), [len(text) for text in portion])
            inputs = {name: to_device(x, bench.device) for name, x in inputs.items()}
            states = there(**inputs).last_hidden_state.float()
            mask = inputs["attention_mask"][..., None]
            found.append(unit((states * mask).sum(1) / mask.sum(1)))
        return np.concatenate(found)

    return encode


def unit(vectors: Tensor) -> np.ndarray:
    """Scale vectors to length 1, on the host."""
    return nn.functional.normalize(vectors, dim=-1).cpu().numpy()


# Both sides.

THEIRS = {"transformers sdpa": "sdpa", "transformers FlashAttention-2": "flash_attention_2"}


def theirs(bench: Bench, kind: str, model: Any, attention: str) -> Any:
    """Load our weights with a class of `transformers`."""
    import transformers

    if attention == "flash_attention_2" and not importlib.util.find_spec("flash_attn"):
        raise ImportError("flash-attn is not installed")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    folder = bench.folder / f"{kind}-{model.config.architecture}-{model.config.hidden_size}"
    if not folder.exists():
        model.save_pretrained(folder)
    there = getattr(transformers, kind).from_pretrained(
        folder, attn_implementation=attention, dtype=torch.float32, local_files_only=True
    )
    return there.to(bench.device)


def padded(ids: Tensor, sizes: Sequence[int], padding: int = 0) -> dict[str, Tensor]:
    """Pad texts to the longest: ids and mask, (texts, longest)."""
    rows = torch.split(ids, list(sizes))
    pad = nn.utils.rnn.pad_sequence
    return {
        "input_ids": pad(list(rows), batch_first=True, padding_value=padding),
        "attention_mask": pad([torch.ones_like(row) for row in rows], batch_first=True),
    }


def padded_mlm(batch: MaskedBatch) -> dict[str, Tensor]:
    """Pad a masked batch, with −100 at the positions that are not predicted."""
    labels = torch.full_like(batch.input_ids, -100)
    labels[batch.target_positions] = batch.labels
    sizes = batch.sequences.lengths
    wanted = padded(labels, sizes, padding=-100)["input_ids"]
    return padded(batch.input_ids, sizes) | {"labels": wanted}


def race(
    bench: Bench, sides: dict[str, Make], tokens: int, flops: int, tolerance: float
) -> dict[str, Any]:
    """Warm up every side, compare their first results, and time them in turns."""
    ready: dict[str, Call] = {}
    result: dict[str, Any] = {"tokens a call": tokens}
    wanted = None
    for name, make in sides.items():
        try:
            call = make()
            found = call()
            wanted = found if wanted is None else wanted
            gap = float(np.abs(found - wanted).max() / max(1.0, float(np.abs(wanted).max())))
            if not gap <= tolerance:
                raise ValueError(f"it differs by {gap:.1e}, more than {tolerance:g}")
            for _ in range(2):
                call()
            ready[name] = call
        except Exception as error:
            if name == "plainformer":
                raise
            reason = (str(error).splitlines() or [""])[0][:120]
            result[name] = f"left out: {type(error).__name__}: {reason}"
    seconds: dict[str, list[float]] = {name: [] for name in ready}
    over = min(time.monotonic() + bench.seconds, bench.deadline)
    while len(seconds["plainformer"]) < 3 or time.monotonic() < over:
        for name, call in ready.items():
            synchronize(bench.device)
            begin = time.perf_counter()
            for _ in range(3):
                call()
            synchronize(bench.device)
            seconds[name].append((time.perf_counter() - begin) / 3)
    ours = np.array(seconds["plainformer"])
    for name, times in seconds.items():
        median = float(np.median(times))
        low, high = np.percentile(times, [25, 75])
        result[name] = {
            "tokens a second": round(tokens / median),
            "quartiles": [round(tokens / high), round(tokens / low)],
            "milliseconds a call": round(1e3 * median, 3),
            "utilisation": round(flops / median / bench.peak, 4),
            "plainformer is faster by": round(float(np.median(np.array(times) / ours)), 3),
        }
    if bench.device.type == "cuda":
        result["peak memory of all sides, GiB"] = round(
            torch.cuda.max_memory_allocated() / 2**30, 2
        )
        torch.cuda.reset_peak_memory_stats()
    del ready
    gc.collect()
    if bench.device.type == "cuda":
        torch.cuda.empty_cache()
    return result

"""The first stage from end to end: text → token shards → masked batches → a model folder."""

import copy
import math
from collections.abc import Iterator
from dataclasses import asdict, replace
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import Progress, TaskID

from cellar import UserError, write_json
from encoder import EncoderConfig, MaskedLM
from pretrain.config import PretrainConfig
from pretrain.corpus import Corpus, Split
from pretrain.data import MaskedBatches, Pieces, fixed_batches, ordinary_ids, unigram_entropy
from pretrain.masking import Masking
from pretrain.objective import masked_lm
from pretrain.shards import Shard, read_shards, write_shards
from tokenizer import Tokenizer, load_tokenizer
from training import Result, evaluate, seconds_per_step, train

HELD_OUT_MASKING = 0.15
"""the held-out loss is measured at this ratio whatever the training, so that runs compare"""


def pretrain(config: PretrainConfig, quiet: bool = False) -> Result:
    """Run `config`, and leave in `config.out` a model folder that `transformers` opens too.

    Beside the model and its tokenizer: `options.json` (the run's settings), `metrics.json`
    (held-out loss in nats a token, accuracy, perplexity), `log.jsonl`, `speed.jsonl`, `curve.png`,
    `tokens/` (the shards) and `checkpoints/`.

    Raises `UserError` for whatever cannot be read, does not fit together, or cannot be written.
    """
    tokenizer = load_tokenizer(config.tokenizer)
    corpus = Corpus.of(config.corpus, config.valid_share)
    shards = tokenized(corpus, tokenizer, config.out / "tokens", quiet)
    pieces = {split: Pieces(shards[split], tokenizer, config.max_length) for split in shards}

    masking = Masking(
        tokenizer.mask_id, ordinary_ids(tokenizer), config.mask_ratio, config.whole_words
    )
    batches = MaskedBatches(
        pieces["train"], masking, config.batch_tokens, config.accumulate, config.training.seed
    )
    held_out = list(
        fixed_batches(
            pieces["valid"],
            replace(masking, ratio=HELD_OUT_MASKING),
            config.batch_tokens,
            config.valid_tokens,
        )
    )
    model = build(config, tokenizer)
    if config.minutes:
        seconds = seconds_per_step(copy.deepcopy(model), masked_lm, batches, config.training)
        steps = max(1, int(config.minutes * 60 / seconds))
        config = replace(config, minutes=0.0, training=replace(config.training, steps=steps))
    write_json(config.out / "options.json", asdict(config))
    plateau = PlateauWatch(unigram_entropy(shards["train"]))

    def measure(model: MaskedLM) -> dict[str, float]:
        metrics = evaluate(model, masked_lm, held_out)
        plateau.see(metrics["loss"])
        return {**metrics, "perplexity": math.exp(metrics["loss"])}

    result = train(
        model,
        masked_lm,
        batches,
        config.training,
        config.out,
        evaluate=measure,
        resume=config.resume,
        label="pretraining",
        quiet=quiet,
    )
    model.save_pretrained(config.out)
    tokenizer.save(config.out)
    write_json(config.out / "metrics.json", {"held_out": dict(result.last)})
    return result


def tokenized(
    corpus: Corpus, tokenizer: Tokenizer, folder: Path, quiet: bool
) -> dict[Split, list[Shard]]:
    """The shards of both parts of the corpus, written unless `folder` has them already."""
    splits: tuple[Split, Split] = ("valid", "train")
    with Progress(disable=quiet, transient=True) as progress:
        for split in splits:
            if any(folder.glob(f"{split}-*.safetensors")):
                continue
            bar = progress.add_task(f"tokenizing the {split} text", total=corpus.size(split))

            def watched(texts: Iterator[str], bar: TaskID = bar) -> Iterator[str]:
                for text in texts:
                    progress.advance(bar, len(text))
                    yield text

            write_shards(watched(corpus.texts(split)), tokenizer, folder, split)
    return {split: read_shards(folder, tokenizer, split) for split in splits}


def build(config: PretrainConfig, tokenizer: Tokenizer) -> MaskedLM:
    """A fresh model of the preset's shape for this vocabulary, drawn from the run's seed."""
    shape = EncoderConfig.preset(
        config.preset, vocab_size=tokenizer.vocab_size, pad_token_id=tokenizer.pad_id
    )
    if config.max_length > shape.max_position_embeddings:
        raise UserError(
            f"max_length {config.max_length} is more than the {shape.max_position_embeddings} "
            f"positions of {config.preset}"
        )
    torch.manual_seed(config.training.seed)
    return MaskedLM(shape)


class PlateauWatch:
    """Warns, once, when the held-out loss sits where a model without any context would be."""

    def __init__(self, entropy: float) -> None:
        self.entropy = entropy
        self._losses: list[float] = []

    def see(self, loss: float) -> bool:
        """Take note of a held-out loss; return whether this is the one to warn at."""
        self._losses.append(loss)
        sits = [loss > 0.95 * self.entropy for loss in self._losses]
        if not all(sits) or len(sits) != 2:
            return False
        Console(stderr=True).print(
            f"[yellow]the held-out loss ({loss:.2f}) sits near {self.entropy:.2f}, the entropy of "
            "single tokens: the model has learned how frequent they are, and nothing of context "
            "yet. More steps, a higher learning rate, smaller batches or a modern preset help.[/]"
        )
        return True

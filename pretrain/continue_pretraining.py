"""Continue from a pretrained model on new text: its weights, its tokenizer, new words, old text.

The learning rate rises again and falls again over the whole run (Gupta et al. 2023,
arXiv:2308.04014), and a share of old text among the new keeps what was known (Ibrahim et al. 2024,
arXiv:2403.08763): see the recipe `continue`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Int64

from plainformer.base import UserError, plural
from plainformer.base.progress import counting
from plainformer.encoder import extend_vocabulary
from plainformer.pretrain.batch import PackedText, Segment
from plainformer.pretrain.config import PretrainConfig
from plainformer.pretrain.corpus import Corpus, is_prepared
from plainformer.pretrain.data import Chunks, Rows, TextSource
from plainformer.pretrain.evaluation import PER_CHARACTER, Evaluation
from plainformer.pretrain.objectives import PretrainingObjective
from plainformer.pretrain.start import Start
from plainformer.tokenizer import (
    Tokenizer,
    added_words,
    extend,
    join_pieces,
    load_tokenizer,
    split_words,
)
from plainformer.training import autocast, choose_device


def continued_start(
    config: PretrainConfig, objective: PretrainingObjective[Any], resumed: bool, quiet: bool
) -> Start:
    """Start from the model in `config.model`; a resumed run has its new words already.

    Raises `UserError` when model, tokenizer, objective and text do not fit together.
    """
    assert config.model is not None
    own = load_tokenizer(config.model)
    torch.manual_seed(config.training.seed)  # a missing head starts at random
    model = objective.load(config, config.model)
    own.check_vocabulary(model.config.vocab_size, f"the model in {config.model}")
    if resumed:
        tokenizer = load_tokenizer(config.out)
    else:
        tokenizer = own if config.tokenizer is None else load_tokenizer(config.tokenizer)
    try:
        words = added_words(own, tokenizer)
    except UserError as error:
        raise UserError(
            f"{config.tokenizer} is not the tokenizer of {config.model}: {error}"
        ) from None
    if (config.new_words or words) and not objective.extends_vocabulary:
        raise UserError("a vocabulary grows with mlm, denoise or clm alone")
    if config.new_words and not resumed:
        tokenizer = extend(tokenizer, new_words(config, tokenizer, quiet))
        words = added_words(own, tokenizer)
    if words:
        extend_vocabulary(model, own.vocab_size, [own.spell(word) for word in words])
    return Start(model, tokenizer, own, words)


def describe(start: Start, config: PretrainConfig) -> str:
    """Describe the start of the run: its learning rate, new heads and new words."""
    training = config.training
    lines = [
        f"going on from {config.model}: learning rate {training.learning_rate:g}, which rises "
        f"over {training.warmup:.0%} of the steps ({training.schedule})"
    ]
    if new := start.model.newly_initialised:
        heads = sorted({name.removesuffix(".weight").removesuffix(".bias") for name in new})
        lines.append(f"not in that folder, so begun anew: {', '.join(heads)}")
    if start.new_words:
        some = ", ".join(start.new_words[:8])
        count = plural(len(start.new_words), "word is", "words are")
        lines.append(f"{count} new in its vocabulary: {some} …")
    return "\n".join(lines)


def new_words(config: PretrainConfig, tokenizer: Tokenizer, quiet: bool) -> list[str]:
    """Return the words of the new text that the tokenizer splits most."""
    for name in config.corpus:
        if is_prepared(name):
            raise UserError(f"{name} is a prepared corpus: new words are learned from its text")
    corpus = Corpus.of(config.corpus, config.valid_share)
    with counting("looking for words", unit="bytes", quiet=quiet) as watch:
        words = split_words(tokenizer, corpus.texts("train", watch), config.new_words)
    if not words:
        raise UserError("the new text has no frequent word that the vocabulary splits")
    return words


@dataclass(frozen=True)
class Retokenized:
    """Chunks of documents in the tokens of the vocabulary before it grew."""

    chunks: Chunks
    own: Tokenizer
    positions: int
    """Positions of the model: longer sequences are truncated."""

    def __len__(self) -> int:
        """Return the number of blocks of all shards."""
        return len(self.chunks)

    def __getitem__(self, block: int) -> Rows:
        """Return the chunks that begin in a block."""
        return self.chunks[block]

    def lengths(self, items: Rows) -> Int64[np.ndarray, " items"]:
        """Return the tokens of each chunk in the grown vocabulary: batches hold the same chunks."""
        return self.chunks.lengths(items)

    def text(self, items: Rows, rng: np.random.Generator) -> PackedText:
        """Pack these chunks in the same order."""
        items = items[np.argsort(self.lengths(items), kind="stable")]
        rows = [[self._retokenized(self.chunks.tokens(chunk))] for chunk in items.tolist()]
        return PackedText.packed(rows, self.own)

    def _retokenized(self, segment: Segment) -> Segment:
        ids: list[int] = []
        starts: list[int] = []
        begins = np.flatnonzero(segment[1])
        for word in np.split(segment[0], begins[begins > 0]):
            tokens: list[int] = word.tolist()
            if max(tokens, default=0) >= self.own.vocab_size:
                tokens = self.own.spell(join_pieces(self.chunks.tokenizer, tokens))
            ids += tokens
            starts += [1, *[0] * (len(tokens) - 1)]
        room = self.positions - 2
        return np.array(ids[:room]), np.array(starts[:room])


def evaluate_before(
    config: PretrainConfig,
    objective: PretrainingObjective[Any],
    start: Start,
    texts: Mapping[str, TextSource],
    evaluation: Evaluation,
) -> dict[str, float]:
    """Evaluate the model to continue from, with the tokenizer that it had.

    `texts` are the held-out ones of `evaluation`. When the vocabulary has grown, the same words are
    masked in the tokens of the old one, and only the loss per character is returned.
    """
    model = start.model
    if start.new_words:
        assert config.model is not None
        model, own = objective.load(config, config.model), start.old_tokenizer
        positions = model.config.max_position_embeddings
        texts = {
            prefix: Retokenized(text, own, positions)
            for prefix, text in texts.items()
            if isinstance(text, Chunks)
        }
        evaluation = Evaluation.of(config, objective, own, texts, per_character=True)
    device = choose_device(config.training.device)
    with autocast(device, config.training.precision):
        metrics = evaluation(model.to(device))
    if start.new_words:
        return {k: value for k, value in metrics.items() if k.endswith(PER_CHARACTER)}
    return metrics

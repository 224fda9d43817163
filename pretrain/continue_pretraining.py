"""Going on from a pretrained model, on new text: its weights, its tokenizer, new words, old text.

The learning rate rises again and falls again, over the whole of the new run (Gupta et al. 2023,
arXiv:2308.04014), and a share of old text among the new keeps what was known (Ibrahim et al. 2024,
arXiv:2403.08763): see the recipe `continue`.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Int64

from plainformer.base import UserError, plural
from plainformer.encoder import extend_vocabulary
from plainformer.pretrain import choice
from plainformer.pretrain.batch import PackedText, Segment
from plainformer.pretrain.config import PretrainConfig
from plainformer.pretrain.corpus import Corpus, is_prepared
from plainformer.pretrain.corpus.progress import reading
from plainformer.pretrain.data import Chunks, Rows, TextSource
from plainformer.pretrain.measure import PER_CHARACTER, Measure
from plainformer.tokenizer import (
    Tokenizer,
    added_words,
    extend,
    join_pieces,
    load_tokenizer,
    split_words,
)
from plainformer.training import autocast, choose_device


@dataclass(frozen=True)
class Start:
    """What a continued run begins from."""

    model: choice.Model
    tokenizer: Tokenizer
    own: Tokenizer
    """the tokenizer that the model had"""
    words: list[str]
    """those by which the tokenizer has been extended since"""

    def said(self, config: PretrainConfig) -> str:
        """What a person should know of it."""
        training = config.training
        lines = [
            f"going on from {config.model}: learning rate {training.learning_rate:g}, which rises "
            f"over {training.warmup:.0%} of the steps ({training.schedule})"
        ]
        if new := getattr(self.model, "newly_initialised", ()):
            heads = sorted({name.removesuffix(".weight").removesuffix(".bias") for name in new})
            lines.append(f"not in that folder, so begun anew: {', '.join(heads)}")
        if self.words:
            some = ", ".join(self.words[:8])
            count = plural(len(self.words), "word is", "words are")
            lines.append(f"{count} new in its vocabulary: {some} …")
        return "\n".join(lines)


def start(config: PretrainConfig, resumed: bool, quiet: bool) -> Start:
    """The model and the tokenizer of a continued run; one that is resumed has its words already.

    Raises `UserError` when model, tokenizer, objective and text do not fit together.
    """
    assert config.model is not None
    own = load_tokenizer(config.model)
    torch.manual_seed(config.training.seed)  # a head may begin anew
    model = choice.load_model(config, config.model)
    own.check_vocabulary(choice.shape(model).vocab_size, f"the model in {config.model}")
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
    of_tokens = config.token_objective not in (None, "rtd") and config.pair_objective is None
    if (config.new_words or words) and not of_tokens:
        raise UserError("a vocabulary grows with mlm, denoise or clm alone")
    if config.new_words and not resumed:
        tokenizer = extend(tokenizer, new_words(config, tokenizer, quiet))
        words = added_words(own, tokenizer)
    if words:
        extend_vocabulary(model, own.vocab_size, [own.spell(word) for word in words])
    return Start(model, tokenizer, own, words)


def new_words(config: PretrainConfig, tokenizer: Tokenizer, quiet: bool) -> list[str]:
    """The words of the new text that the tokenizer splits most."""
    for name in config.corpus:
        if is_prepared(Path(name)):
            raise UserError(f"{name} is a prepared corpus: new words are learned from its text")
    corpus = Corpus.of(config.corpus, config.valid_share)
    with reading("looking for words", None, quiet=quiet) as watch:
        words = split_words(tokenizer, corpus.texts("train", watch), config.new_words)
    if not words:
        raise UserError("the new text has no frequent word that the vocabulary splits")
    return words


@dataclass(frozen=True)
class Retokenized:
    """The same chunks of documents as `chunks`, in the tokens of a vocabulary before it grew."""

    chunks: Chunks
    own: Tokenizer
    places: int
    """tokens of the longest sequence; what goes beyond is cut off"""

    def __len__(self) -> int:
        """Blocks of all shards."""
        return len(self.chunks)

    def __getitem__(self, block: int) -> Rows:
        """The chunks that begin in a block."""
        return self.chunks[block]

    def lengths(self, items: Rows) -> Int64[np.ndarray, " items"]:
        """Tokens of each chunk in the vocabulary that grew: so batches hold the same chunks."""
        return self.chunks.lengths(items)

    def text(self, items: Rows, rng: np.random.Generator) -> PackedText:
        """These chunks, packed, in the same order."""
        items = items[np.argsort(self.lengths(items), kind="stable")]
        rows = [[self._respelled(self.chunks.tokens(chunk))] for chunk in items.tolist()]
        return PackedText.packed(rows, self.own)

    def _respelled(self, segment: Segment) -> Segment:
        ids: list[int] = []
        starts: list[int] = []
        begins = np.flatnonzero(segment[1])
        for word in np.split(segment[0], begins[begins > 0]):
            tokens: list[int] = word.tolist()
            if max(tokens, default=0) >= self.own.vocab_size:
                tokens = self.own.spell(join_pieces(self.chunks.tokenizer, tokens))
            ids += tokens
            starts += [1, *[0] * (len(tokens) - 1)]
        starts[:1] = segment[1][:1].tolist()
        room = self.places - 2
        return np.array(ids[:room]), np.array(starts[:room])


def measured_before(
    config: PretrainConfig, started: Start, texts: Mapping[str, TextSource], measure: Measure
) -> dict[str, float]:
    """What `measure` says of the model as it came, with the tokenizer that it had.

    `texts` are the held-out ones of `measure`, which sees the same words in the tokens of the old
    vocabulary; of a vocabulary that has grown only the price per character is to be compared.
    """
    model = started.model
    if started.words:
        assert config.model is not None
        model, own = choice.load_model(config, config.model), started.own
        places = choice.shape(model).max_position_embeddings
        texts = {
            k: Retokenized(text, own, places)
            for k, text in texts.items()
            if isinstance(text, Chunks)
        }
        measure = Measure.of(config, own, texts, per_character=True)
    device = choose_device(config.training.device)
    with autocast(device, config.training.precision):
        metrics = measure(model.to(device))
    if started.words:
        return {k: value for k, value in metrics.items() if k.endswith(PER_CHARACTER)}
    return metrics

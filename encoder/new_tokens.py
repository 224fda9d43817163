"""Extend the vocabulary of a model: a new token starts as the mean of its pieces.

    e(new) = mean of e(piece) over the pieces into which the old tokenizer splits the word

The rows and biases of the decoder are extended likewise, so the first logit of a new token is the
mean of those of its pieces (Gee et al. 2022, arXiv:2402.09977, "fast vocabulary transfer"; a mean
is better than a random draw: Hewitt 2021, "Initializing New Word Embeddings for Pretrained Language
Models"). All other parameters keep their values.
"""

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor, nn

from plainformer.base import UserError
from plainformer.encoder.heads.masked_lm import VocabularyModel


@torch.no_grad()
def extend_vocabulary(model: VocabularyModel, first: int, pieces: Sequence[Sequence[int]]) -> None:
    """Add the tokens `first`, `first` + 1 … to `model`, one for each entry of `pieces`.

    An entry holds the ids of the pieces, all below `first`. Rows from `first` on that the model has
    already are padding of its vocabulary to a round number, and are overwritten. Raises `UserError`
    for an entry without pieces.
    """
    for token, ids in enumerate(pieces, start=first):
        if len(ids) == 0:
            raise UserError(f"token {token} has no pieces to take the mean of: leave it out")
    config = model.config
    vocab_size = max(config.vocab_size, first + len(pieces))

    def grown(rows: Tensor) -> nn.Parameter:
        means = [rows[list(ids)].mean(dim=0) for ids in pieces]
        behind = rows[first + len(pieces) :]
        table = torch.cat([rows[:first], torch.stack(means), behind])
        return nn.Parameter(table, requires_grad=rows.requires_grad)

    tokens, decoder = model.encoder.embeddings.tokens, model.decoder
    tokens.weight, tokens.num_embeddings = grown(tokens.weight), vocab_size
    model.bias = grown(model.bias)
    if decoder is not None:
        decoder.weight, decoder.out_features = grown(decoder.weight), vocab_size
    model.config = model.encoder.config = replace(config, vocab_size=vocab_size)

"""Compute where each head attends in given texts, and summarise each head.

With A the weights of a head between the n tokens of a sequence, each row of which adds up to 1:

    entropy     1/n Σᵢ −Σⱼ A[i, j] ln A[i, j]    0: each token looks at one; ln n: at all alike
    share       1/n Σᵢ Σ_{j ∈ S(i)} A[i, j]      S(i): the first token, the separators, the token
                                                 before i, the one after it, those of the same word

(Clark et al. 2019, arXiv:1906.04341). Over several sequences both are means over all tokens.
What goes to the learned vectors of a prefix or of a soft prompt is left out: with them a row adds
up to less.
"""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from plainformer.base import UserError
from plainformer.corpora import Row
from plainformer.encoder import SentenceEncoder
from plainformer.finetune.data.rows import Input, as_rows, bounded
from plainformer.finetune.prediction.attention import spelling, token_attention, words_of
from plainformer.finetune.prediction.predictor import Predictor, encode_all
from plainformer.tokenizer import Encoding, Tokenizer

MOST_TOKENS = 128
"""Tokens of a sequence: the weights are layers × heads × tokens² numbers."""
STATISTICS = {
    "entropy": "entropy",
    "first": "to the first token",
    "separators": "to separators",
    "previous": "to the token before",
    "next": "to the token after",
    "same word": "within the word",
}
"""The numbers by which a head is summarised, with their names in full."""


@dataclass(frozen=True)
class SequenceAttention:
    """The attention of all heads between the tokens of a sequence."""

    tokens: tuple[str, ...]
    words: tuple[tuple[int, ...], ...]
    """The positions of the tokens of each word; a special token is a word of its own."""
    spellings: tuple[str, ...]
    """The words, as the model reads them."""
    special: tuple[bool, ...]
    """True for each token that the tokenizer adds."""
    weights: Float[Tensor, "layers heads tokens tokens"]
    is_cut: bool = False
    """True where the end of the text was cut off."""


def attention_of(predictor: Predictor, inputs: Iterable[Input]) -> list[SequenceAttention]:
    """Compute the attention in each sequence of each text, pair or row."""
    task = predictor.task
    return list(attention_of_rows(predictor, task.naming((), task.columns).of(as_rows(inputs))))


def attention_of_rows(predictor: Predictor, rows: Iterable[Row]) -> Iterator[SequenceAttention]:
    """Yield the attention in each sequence of each row: an option of a choice is one.

    Raises `UserError` for a sequence of more than `MOST_TOKENS` tokens, an empty text, a row that
    cannot be read, and a model without attention.
    """
    model = predictor.model
    if isinstance(model, SentenceEncoder) and model.layout.is_static:
        raise UserError("static vectors are looked up, and no word attends to another")
    examples = (predictor.task.read(row, labelled=False) for row in bounded(rows))
    for example, item in encode_all(predictor.task, predictor.tokenizer, examples):
        for encoding in item.encodings:
            if len(encoding) > MOST_TOKENS:
                raise UserError(
                    f"{example.source}: {len(encoding):,} tokens, more than {MOST_TOKENS}: "
                    "shorten the text"
                )
            if all(encoding.special_tokens_mask):
                raise UserError(f"{example.source}: the text is empty: give one with words")
            weights = token_attention(model.base, encoding)
            yield with_names(weights, encoding, predictor.tokenizer)


def with_names(
    weights: Float[Tensor, "layers heads tokens tokens"], encoding: Encoding, tokenizer: Tokenizer
) -> SequenceAttention:
    """Join weights with the tokens and words that they are between."""
    words, ids = words_of(encoding), encoding.ids
    return SequenceAttention(
        tokens=tuple(map(tokenizer.token, ids)),
        words=tuple(map(tuple, words)),
        spellings=tuple(spelling(tokenizer, [ids[i] for i in word]) for word in words),
        special=tuple(map(bool, encoding.special_tokens_mask)),
        weights=weights,
        is_cut=bool(encoding.dropped),
    )


def head_statistics(
    found: Iterable[SequenceAttention],
) -> Float[Tensor, "statistics layers heads"]:
    """Summarise each head over all sequences: see `STATISTICS`.

    Raises `UserError` where there is no sequence.
    """
    sums, tokens = [], 0
    for one in found:  # whose weights need not be there at once
        sums.append(statistic_sums(one))
        tokens += len(one.tokens)
    if not sums:
        raise UserError("there is no text: give at least one")
    return torch.stack(sums).sum(0) / tokens


def statistic_sums(one: SequenceAttention) -> Float[Tensor, "statistics layers heads"]:
    """Compute the statistics of each head in a sequence, as sums over its tokens."""
    weights = one.weights.double()  # (layers, heads, tokens, tokens)
    entropy = torch.special.entr(weights).sum((-2, -1))
    masks = looked_at(one).to(weights)
    return torch.stack([entropy, *torch.einsum("lhij,sij->slh", weights, masks)])


def looked_at(one: SequenceAttention) -> Bool[Tensor, "shares tokens tokens"]:
    """Mark the tokens that each share counts: `shares[s, i, j]` for token i looking at j."""
    n = len(one.tokens)
    i, j = torch.arange(n)[:, None], torch.arange(n)[None]
    word = torch.empty(n, dtype=torch.long)
    for number, positions in enumerate(one.words):
        word[list(positions)] = number
    separator = torch.tensor(one.special) & (torch.arange(n) > 0)
    first = (j == 0) & bool(one.special[:1] and one.special[0])
    return torch.stack(
        [
            first.expand(n, n),
            separator.expand(n, n),
            j == i - 1,
            j == i + 1,
            word[:, None] == word[None],
        ]
    )

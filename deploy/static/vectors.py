"""Distil an encoder into one static vector for each token of its vocabulary.

    xₜ = the encoder's vector of the text [CLS] t [SEP], pooled as it pools sentences
    E  = wₜ · PCA(x)ₜ                       the first `size` components of all xₜ
    wₜ = a / (a + pₜ)                       a = 10⁻⁴
    pₜ = 1 / rₜ / Σᵢ 1 / rᵢ                 rₜ = 2, 3, 4 … in the order of the ids

Vocabularies list frequent tokens first, so that a token's rank gives its probability (Zipf 1949),
and SIF weights make a frequent token count for little (Arora, Liang & Ma 2017, "A simple but
tough-to-beat baseline for sentence embeddings"). The recipe is that of model2vec (Tulkens & van
Dongen 2024). The vector of a sentence is the mean of its tokens' rows.

    table = distil(model, tokenizer, size=256)
"""

import re
from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor, nn

from plainformer.base.pca import principal_components
from plainformer.encoder import SentenceEncoder
from plainformer.encoder.heads.sentence import UnitLength, pool_all
from plainformer.finetune.data.batch import BATCH_TOKENS, Batch, Item
from plainformer.tokenizer import Tokenizer, Tokens

SIF = 1e-4
"""The number a of the weights."""
UNUSED = re.compile(r"\[unused\d+\]")
"""Places that BERT's vocabulary leaves free."""


def distil(model: SentenceEncoder, tokenizer: Tokenizer, size: int) -> Float[Tensor, "tokens size"]:
    """Compute the table of static vectors; row i is that of token i.

    The rows of special and unused tokens are 0: a text does not mean them. Raises `UserError`
    where the vectors have fewer than `size` components.
    """
    ids = ordinary_ids(tokenizer)
    components = principal_components(token_vectors(model, tokenizer, ids), size)
    table = torch.zeros(tokenizer.largest_id + 1, size)
    table[ids] = (sif_weights(len(ids))[:, None] * components.cpu()).float()
    return table


def ordinary_ids(tokenizer: Tokenizer) -> list[int]:
    """Return the ids of all tokens that stand for text, in order."""
    ids = (id for id in range(tokenizer.largest_id + 1) if id not in tokenizer.special_ids)
    return [id for id in ids if not UNUSED.fullmatch(tokenizer.token(id))]


def sif_weights(count: int) -> Float[Tensor, " tokens"]:
    """Compute the weight of each of `count` tokens, the most frequent first."""
    inverse_ranks = 1 / torch.arange(2, count + 2, dtype=torch.float64)
    return SIF / (SIF + inverse_ranks / inverse_ranks.sum())


@torch.no_grad()
def token_vectors(
    model: SentenceEncoder, tokenizer: Tokenizer, ids: Sequence[int]
) -> Float[Tensor, "tokens hidden"]:
    """Compute the vector of each token as a text of its own, not scaled to length 1."""
    layers = list(model.layers)
    if layers and isinstance(layers[-1], UnitLength):
        layers.pop()
    template, found = tokenizer.template, []
    size = BATCH_TOKENS // len(template.single)  # a part of a template is a token here
    for start in range(0, len(ids), size):
        alone = (Tokens([id], [(0, 0)], [0]) for id in ids[start : start + size])
        batch = Batch.of([Item((template.encode(token, None),)) for token in alone])
        batch = batch.to(model.device)
        encoded = model.encoder(
            batch.input_ids, token_type_ids=batch.token_type_ids, sequences=batch.sequences
        )
        pooled = pool_all(encoded.last_hidden_state, batch.sequences, model.layout.pooling)
        found.append(nn.Sequential(*layers)(pooled)[:, : model.size])
    return torch.cat(found)

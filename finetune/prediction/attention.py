"""Compute the attention between the words of a text.

A word may be several tokens. With A the weights between tokens, each row of which adds up to 1, the
weight of word u on word v is (Clark et al. 2019, arXiv:1906.04341)

    W[u, v] = mean over tokens i of u of  Σ over tokens j of v of  A[i, j]

so the rows of W add up to 1, too. A special token is a word of its own.
"""

from itertools import groupby

import torch
from jaxtyping import Float
from torch import Tensor

from plainformer.encoder import Encoder, check_finite
from plainformer.tokenizer import Encoding, Tokenizer


def words_of(encoding: Encoding) -> list[list[int]]:
    """List the tokens of each word, by their positions."""
    owners = list(zip(encoding.sequence_ids, encoding.word_ids, strict=True))
    found: list[list[int]] = []
    for (owner, _), positions in groupby(range(len(encoding)), key=owners.__getitem__):
        some = list(positions)
        found += [[one] for one in some] if owner is None else [some]
    return found


def spelling(tokenizer: Tokenizer, ids: list[int]) -> str:
    """Spell a word as the model reads it: in lower case, say, or as an unknown token."""
    text = tokenizer.decode(ids, skip_special_tokens=False).strip()
    return text or " ".join(map(tokenizer.token, ids))


@torch.no_grad()
def token_attention(encoder: Encoder, encoding: Encoding) -> Float[Tensor, "layers heads seq seq"]:
    """Compute the attention weights between the tokens of a text, of all heads."""
    ids = torch.tensor([encoding.ids], device=encoder.device)  # (1, seq)
    types = torch.tensor([encoding.type_ids], device=encoder.device)
    output = encoder(ids, token_type_ids=types, output_attentions=True)
    weights: Tensor = torch.cat(output.attentions).float().cpu()
    check_finite(weights)
    return weights


def word_attention(
    weights: Float[Tensor, "*heads seq seq"], words: list[list[int]]
) -> Float[Tensor, "*heads words words"]:
    """Compute the weights between words from those between tokens: W = D⁻¹ Mᵀ A M.

    M has a 1 where a token belongs to a word, and D the number of tokens of each word.
    """
    member = torch.zeros(weights.shape[-1], len(words))  # (seq, words)
    for word, positions in enumerate(words):
        member[positions, word] = 1
    found: Float[Tensor, "*heads words words"] = member.T @ weights @ member
    return found / member.sum(0)[:, None]

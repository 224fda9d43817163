"""Start two heads in each of the first layers as neighbour heads: one token back, one ahead.

A masked token follows from its neighbours first of all, but random attention is the same for all
distances, and a small model spends most of a short training on finding its neighbours. Rotary
positions can give them to it at the start: with the same vector a in every query and every key,

    q(i) = g R(iθ) a,   k(j) = g R((j − d)θ) a,   q(i) · k(j) = g² Σ cos((j − i − d) θ)

is largest where key j is at distance d from query i. For a to be the same for all tokens, they must
have something in common: a vector u, +σ and −σ in turns, is added to each row of the token table,
and the matrices of Q and K map u to g a, in addition to their random entries. To the scores over
the vocabulary u adds a constant, which changes no probability.

Measured in benchmarks/LOG.md. Attention that begins as a convolution was proposed for images
(Trockman and Kolter 2023, arXiv:2305.09828).
"""

import torch

from plainformer.encoder import Encoder

LAYERS = 2
DISTANCES = (-1, 1)
CONTRAST = 2.0
"""Difference of the scores at distance d and one token beside it, without the random part."""


@torch.no_grad()
def add_neighbour_heads(encoder: Encoder) -> None:
    """Make head 0 of the first layers look one token back, and head 1 one token ahead.

    Models with other positions than rotary ones stay as they are.
    """
    config = encoder.config
    if config.positions != "rotary" or config.embedding_size:
        return
    heads, size, half = config.num_attention_heads, config.hidden_size, config.head_size // 2
    signs = 1.0 - 2.0 * (torch.arange(size) % 2)  # u / σ
    table = encoder.embeddings.tokens.weight
    padding = table[config.pad_token_id].clone()
    table += config.initializer_range * signs
    table[config.pad_token_id] = padding
    for layer in range(min(LAYERS, len(encoder.blocks))):
        base = config.local_rope_theta if config.is_local(layer) else config.global_rope_theta
        angles = base ** (-torch.arange(half) / half)
        # u is half of the variance of a token: a normed vector has 1/√2 of it, and q · k one half.
        gain = (2 * CONTRAST * config.head_size**0.5 / (1 - angles.cos()).sum()).sqrt()
        # (3 · heads · head_size, hidden) -> (3, heads, head_size, hidden)
        matrix = encoder.get_parameter(f"blocks.{layer}.attention.qkv.weight")
        weights = matrix.view(3, heads, -1, size)
        query = torch.cat([torch.ones(half), torch.zeros(half)])
        for head, distance in enumerate(DISTANCES[:heads]):
            key = torch.cat([(distance * angles).cos(), -(distance * angles).sin()])
            weights[0, head] += gain * torch.outer(query, signs) / size
            weights[1, head] += gain * torch.outer(key, signs) / size

"""Count the floating-point operations of one forward pass: two for each multiply-add.

    projection of the embeddings     2 · tokens · e h
    each layer
        queries, keys, values        2 · tokens · 3 h a
        scores, and their values     4 · a · pairs of a query and a key that it sees
        output, feed-forward         2 · tokens · (h a + 2 h i)         3 h i where it is gated
    head of masked-LM                2 · targets · (h e + e v)

with h, a, e, i and v the sizes of hidden vectors, of all heads, embeddings, feed-forward layers and
the vocabulary. The output and feed-forward of the last layer are computed for the tokens that a
head reads. Only matrix products are counted, and no masked scores, though a kernel may compute
them. Norms, activations, softmax, rotation, look-ups and losses are left out. The backward pass
costs twice as much (one product for the weights, one for the input), so training costs three times
this: the "model FLOPs" of PaLM (Chowdhery et al. 2022, arXiv:2204.02311, app. B).
"""

from plainformer.encoder.config import EncoderConfig
from plainformer.encoder.packing import Sequences


def encoder_flops(config: EncoderConfig, sequences: Sequences, read: int | None = None) -> int:
    """Count the operations of an encoder without a pooler on packed `sequences`.

    `read`: the number of tokens whose vectors are wanted; None: all.
    """
    layers, tokens = config.num_hidden_layers, sum(sequences.lengths)
    inner = 3 * config.heads_size * layers + config.embedding_size  # columns of h for each token
    outputs = (layers - 1) * tokens + (tokens if read is None else read)
    products = tokens * inner * config.hidden_size + outputs * output_weights(config)
    local = sum(config.is_local(layer) for layer in range(layers))
    pairs = 0
    for count, length in sequences.runs:
        near = seen_pairs(length, config.window, sequences.causal)
        far = seen_pairs(length, length, sequences.causal)
        pairs += count * (local * near + (layers - local) * far)
    return 2 * products + 4 * config.heads_size * pairs


def masked_lm_flops(config: EncoderConfig, sequences: Sequences, targets: int) -> int:
    """Count the operations of a `MaskedLM` that predicts this number of tokens."""
    head = config.token_size * (config.hidden_size + config.vocab_size)
    return encoder_flops(config, sequences, targets) + 2 * targets * head


def paired_masked_lm_flops(config: EncoderConfig, sequences: Sequences, targets: int) -> int:
    """Count the operations of a `PairedMaskedLM`: also the first tokens and two scores of each."""
    first = output_weights(config) + config.hidden_size * (config.hidden_size + 2)  # and a pooler
    return masked_lm_flops(config, sequences, targets) + 2 * len(sequences.lengths) * first


def discriminator_flops(config: EncoderConfig, sequences: Sequences) -> int:
    """Count the operations of a `Discriminator`, which classifies every token."""
    head = config.hidden_size * (config.hidden_size + 1)
    return encoder_flops(config, sequences) + 2 * sum(sequences.lengths) * head


def layer_weights(config: EncoderConfig) -> int:
    """Count the weights of the matrices of one layer: each is one multiply-add for a token."""
    return 3 * config.hidden_size * config.heads_size + output_weights(config)


def output_weights(config: EncoderConfig) -> int:
    """Count the weights of the matrices of one layer behind its heads."""
    hidden, wide = config.hidden_size, config.intermediate_size
    return hidden * config.heads_size + (3 if config.gated else 2) * hidden * wide


def seen_pairs(length: int, window: int, causal: bool = False) -> int:
    """Count the pairs of a query and a key at most `window` positions apart in a sequence."""
    near = min(window, length - 1)
    # Near the ends of the sequence the window is cut off on one side.
    pairs = length * (1 + 2 * near) - near * (near + 1)
    return (pairs + length) // 2 if causal else pairs

"""Causal language modelling: −log p(token i + 1 | tokens 1 … i), at every place but the last.

It differs from masked language modelling by an attention mask and a target, and by nothing else:
nothing is hidden, each token sees only those before it, and is asked for the one that follows
(Radford et al. 2018, "Improving Language Understanding by Generative Pre-Training"). Every token is
learned from, and the end of a text is one of them.
"""

import numpy as np

from plainformer.pretrain.batch import MaskedBatch, PackedText


def next_tokens(text: PackedText, rng: np.random.Generator, step: int = 0) -> MaskedBatch:
    """Keep the text, in causal sequences, and predict the token after each. A `Corruption`."""
    ends = np.cumsum(text.lengths) - 1
    at = np.delete(np.arange(len(text.ids)), ends)
    return text.with_targets(at, text.ids[at + 1], causal=True)

"""Make pairs of labelled texts: equal labels should have similar vectors, other labels not.

    for each of R rounds, for each text:    a pair with a text of its label     similarity 1
                                            a pair with a text of another       similarity 0

So few texts become many examples: N texts give 2 R N pairs (SetFit: Tunstall et al. 2022,
arXiv:2209.11055, §3.1).
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Int

Pair = tuple[int, int, float]
"""The indices of two texts, and how similar their vectors should be."""


def contrastive_pairs(targets: Sequence[int], rounds: int, seed: int) -> list[Pair]:
    """Draw the pairs of all rounds; a text that is alone with its label has none of similarity 1.

    A round pairs each text once with one of its label and once with one of another.
    """
    rng = np.random.default_rng(seed)
    labels: Int[np.ndarray, " texts"] = np.asarray(targets)
    pairs: list[Pair] = []
    for _ in range(rounds):
        for index, label in enumerate(labels):
            same = np.flatnonzero(labels == label)
            for others, similarity in (
                (same[same != index], 1.0),
                (np.flatnonzero(labels != label), 0.0),
            ):
                if len(others):
                    pairs.append((index, int(rng.choice(others)), similarity))
    return pairs

"""Split training examples into training and validation parts, or into folds.

Distinct texts are sorted by stratum (the label, unless the task defines another), in random order
within a stratum. Text i in this order is in fold i mod k; with a held-out fraction s, it is held
out where ⌊s·i⌋ increases. So all parts have the same proportions of strata. Examples of equal texts
(`fingerprint`) are in the same part.

The held-out part depends on the texts only, not on the seed: runs with other seeds or learning
rates are compared on the same examples.
"""

from collections.abc import Sequence

import numpy as np

from plainformer.base import UserError
from plainformer.corpora.split import unit
from plainformer.finetune.data.example import Example, ExampleT
from plainformer.finetune.data.leakage import fingerprint

SALT = 20
"""Salt of the hash that orders texts; the splits of named sets have another one."""


def hold_out(
    examples: Sequence[ExampleT], fraction: float
) -> tuple[list[ExampleT], list[ExampleT]]:
    """Split examples into training examples and a held-out `fraction`, each in the given order.

    The first text of each label is a training text. Raises `UserError` where no text can be held
    out.
    """
    texts = [fingerprint(example.split_key) for example in examples]
    drawn = sorted(range(len(examples)), key=lambda i: unit(str(texts[i]), SALT))
    order = spread(examples, drawn, texts)
    held: set[int] = set()
    before, due = object(), 0.0
    for index in order:
        label = examples[index].category
        due = round(due + fraction, 9)
        if due >= 1 and (label is None or label == before):
            held.add(texts[index])
            due -= 1
        before = label
    if not held:
        raise UserError(
            f"{examples[0].file}: too few different examples ({len(order)}) "
            "to hold some out: give --valid, a larger --valid-share, or --folds"
        )
    learned = [e for e, text in zip(examples, texts, strict=True) if text not in held]
    return learned, [e for e, text in zip(examples, texts, strict=True) if text in held]


def folds(examples: Sequence[Example], count: int, seed: int) -> list[int]:
    """Return the fold of each example, from 0, as a pure function of examples and seed.

    Two folds differ by at most one text, in all and for each stratum. Examples of equal texts are
    in the same fold. Raises `UserError` for more folds than different texts.
    """
    texts = [fingerprint(example.split_key) for example in examples]
    drawn = np.random.default_rng(seed).permutation(len(examples)).tolist()
    order = spread(examples, drawn, texts)
    if len(order) < count:
        raise UserError(f"{count} folds need as many different examples, not {len(order)}")
    fold = {texts[index]: place % count for place, index in enumerate(order)}
    return [fold[text] for text in texts]


def spread(examples: Sequence[Example], drawn: Sequence[int], texts: Sequence[int]) -> list[int]:
    """Return the index of the first example of each text, sorted by stratum, then as `drawn`."""
    first = {text: index for index, text in reversed(list(enumerate(texts)))}
    different = [index for index in drawn if first[texts[index]] == index]
    return sorted(different, key=lambda index: examples[index].stratum)

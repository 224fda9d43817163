"""Split training examples into training and validation parts, or into folds.

Distinct texts are sorted by label (or by another key of the task), in random order within a label.
Text i of this order is in fold i mod k; or it is held out where ⌊s·i⌋ increases, s the fraction.
So all parts have the same proportions of labels. Examples of the same text (`fingerprint`) are in
one part.

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
"""Salt of the hash that orders examples, different from that of the named sets' splits."""


def hold_out(
    examples: Sequence[ExampleT], fraction: float
) -> tuple[list[ExampleT], list[ExampleT]]:
    """Split examples into those to train on and a `fraction` to validate on, each in order.

    The first text of each label is learned from. Raises `UserError` where nothing can be held out.
    """
    texts = [fingerprint(example.group) for example in examples]
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
    """Assign each example to a fold, from 0, as a pure function of examples and seed.

    Sizes of folds, in all and per label, differ by at most one; examples of the same text are in
    one fold. Raises `UserError` for more folds than different texts.
    """
    texts = [fingerprint(example.group) for example in examples]
    drawn = np.random.default_rng(seed).permutation(len(examples)).tolist()
    order = spread(examples, drawn, texts)
    if len(order) < count:
        raise UserError(f"{count} folds need as many different examples, not {len(order)}")
    fold = {texts[index]: place % count for place, index in enumerate(order)}
    return [fold[text] for text in texts]


def spread(examples: Sequence[Example], drawn: Sequence[int], texts: Sequence[int]) -> list[int]:
    """Return the first example of each text, sorted by label, then as `drawn`."""
    first = {text: index for index, text in reversed(list(enumerate(texts)))}
    different = [index for index in drawn if first[texts[index]] == index]
    return sorted(different, key=lambda index: examples[index].stratum)

"""Enlarge the training examples by changed copies, once, before training.

    D' = D ∪ { method (i + c) mod m, applied to example i:  c = 1 … N }

The N copies of an example take turns at the m chosen methods, as in EDA (Wei & Zou 2019,
arXiv:1901.11196), and neighbouring examples begin with different ones. A copy is a function of
(seed, i, c), so every process makes the same ones, and a resumed run again. A copy is left out if
its words are those of the example, and dropped if a fine-tuned model predicts other labels.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import torch

from plainformer.base import plural
from plainformer.base.say import say
from plainformer.finetune.augment.check import agreeing, load_check
from plainformer.finetune.augment.methods import Method, chosen_methods
from plainformer.finetune.prediction.predictor import chunks
from plainformer.training import distributed_map

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig

SHOWN = 2
"""The number of copies by each method that are shown."""
LONGEST_SHOWN = 160
"""The most characters of an example that are shown."""
CHUNK = 64
"""The number of examples whose copies a process makes at a time."""


class Copy(NamedTuple):
    """A changed copy of an example."""

    method: str
    original: Any
    example: Any

    @property
    def is_changed(self) -> bool:
        """Tell whether a word of the copy differs from the original's."""
        texts = [[w.text for w in e.to_words()] for e in (self.original, self.example)]
        return texts[0] != texts[1]

    def __str__(self) -> str:
        """Show both, one above the other."""
        one, other = (e.preview.replace("\n", " ")[:LONGEST_SHOWN] for e in self[1:])
        return f"  {self.method:9}{one}\n{'→':>10} {other}"


def augmented(examples: Sequence[Any], config: "FinetuneConfig", quiet: bool) -> list[Any]:
    """Return the changed copies of training examples that `config` asks for; show some."""
    options = config.augmentation
    if not options.augment:
        return []
    methods = chosen_methods(options, config.training.device)
    check = None if options.augment_check is None else load_check(config)
    made = list(copies(examples, methods, options.augment, config.training.seed))
    changed = [copy for copy in made if copy.is_changed]
    kept = [copy.example for copy in changed]
    if check is not None:
        kept = agreeing(kept, check)
    say(report(examples, made, changed, kept), quiet)
    return kept


def copies(
    examples: Sequence[Any], methods: dict[str, Method], count: int, seed: int
) -> Iterator[Copy]:
    """Yield `count` copies of each example, in order; several processes share the work."""
    names = list(methods)

    def of_some(some: list[tuple[int, Any]]) -> list[Copy]:
        made = []
        for number, example in some:
            for copy in range(count):
                name = names[(number + copy) % len(names)]
                generator = generator_of(seed, number, copy)
                made.append(Copy(name, example, methods[name](example, generator=generator)))
        return made

    for made in distributed_map(of_some, chunks(enumerate(examples), CHUNK)):
        yield from made


def generator_of(*numbers: int) -> torch.Generator:
    """Return a generator that is a function of these numbers."""
    seed = np.random.SeedSequence(numbers).generate_state(1, np.uint64)
    return torch.Generator().manual_seed(int(seed[0]))


def report(
    examples: Sequence[Any], made: list[Copy], changed: list[Copy], kept: list[Any]
) -> Iterator[str]:
    """Yield some copies by each method, and how many there are and were left out."""
    yield "changed copies of training examples, such as"
    for name in dict.fromkeys(copy.method for copy in made):
        own = [copy for copy in changed if copy.method == name]
        yield from map(str, own[:SHOWN])
        if not own:
            yield f"warning: {name}: no example has a word to change"
    found = f"training on {plural(len(examples), 'example')} and {len(kept):,} changed copies"
    if same := len(made) - len(changed):
        found += f"; {same:,} left out, which no word could be changed of"
    if dropped := len(changed) - len(kept):
        found += f"; {dropped:,} dropped by the check, with other labels"
    yield found

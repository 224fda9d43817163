"""Augment the training examples: changed copies, whose tags and spans follow the words.

    swap_words(example, share=0.1, generator=torch.Generator().manual_seed(0))

Each method is a function from an example to an example, of any task; `augmented` makes the copies
of a run.
"""

from plainformer.finetune.augment.check import agreeing
from plainformer.finetune.augment.copies import augmented
from plainformer.finetune.augment.delete import delete_words
from plainformer.finetune.augment.guess import guess_words
from plainformer.finetune.augment.guesser import Guesser
from plainformer.finetune.augment.options import AugmentOptions
from plainformer.finetune.augment.swap import swap_words
from plainformer.finetune.augment.synonyms import Synonyms, read_synonyms, replace_synonyms
from plainformer.finetune.augment.whole_words import WholeWords

__all__ = [
    "AugmentOptions",
    "Guesser",
    "Synonyms",
    "WholeWords",
    "agreeing",
    "augmented",
    "delete_words",
    "guess_words",
    "read_synonyms",
    "replace_synonyms",
    "swap_words",
]

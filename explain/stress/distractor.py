"""Add a sentence that says nothing, before or behind the text.

    Who was Galileo?    →    Who was Galileo? That is all there is to say, and true is true.

(Jia & Liang 2017, arXiv:1707.07328; Naik et al. 2018, arXiv:1806.00692.) As many sentences as it
takes for `share` of the words, at least one, in one text of the example: the passage of a question,
the text of options, either of a pair. Their words are tagged O; where every word has a tag of its
own, as a part of speech, nothing is added.
"""

from dataclasses import replace
from typing import Any

import torch

from plainformer.base.words import unspaced_edges
from plainformer.explain.stress.choose import draw
from plainformer.finetune.augment.choose import shuffled
from plainformer.finetune.data.words import Word, split_text
from plainformer.finetune.tasks.multiple_choice import ChoiceExample
from plainformer.finetune.tasks.question_answering import PASSAGE, QuestionExample

SENTENCES = (
    "That is all there is to say, and true is true.",
    "It goes on like this for a while.",
    "Nothing more has to be added here.",
    "And so it is, as it always is.",
    "One thing comes after the other.",
)
CHINESE = (
    "话就说到这里。",
    "事情就是这样，一直都是这样。",
    "这里没有别的要说了。",
    "一件事接着另一件事。",
    "真的就是真的。",
)


def add_distractor(example: Any, share: float, generator: torch.Generator) -> Any:
    """Add neutral sentences at one end of a text."""
    words = list(example.to_words())
    if not share or any(word.entity is None and not word.is_untagged for word in words):
        return example
    part = _part(example, {word.part for word in words}, generator)
    own = [word for word in words if word.part == part]
    if not own:
        return example
    is_chinese = sum(all(unspaced_edges(word.text)) for word in own) > len(own) / 2
    tag = "O" if any(word.tag for word in words) else ""
    added = list[Word]()
    for sentence in shuffled(CHINESE if is_chinese else SENTENCES, generator):
        if added and len(added) >= share * len(own):
            break
        space = "" if is_chinese else " "
        first, *others = split_text(sentence, part)
        added += [replace(first, space=space), *others]
    added = [replace(word, tag=tag) for word in added]
    before = bool(draw((0, 1), generator))
    own[0] = replace(own[0], space="" if is_chinese else " ") if before else own[0]
    own = added + own if before else own + added
    begin = next(place for place, word in enumerate(words) if word.part == part)
    rest = [word for word in words if word.part != part]
    return example.with_words((*rest[:begin], *own, *rest[begin:]))


def _part(example: Any, parts: set[int], generator: torch.Generator) -> int:
    """Choose the text that gets longer."""
    if isinstance(example, QuestionExample):
        return PASSAGE
    if isinstance(example, ChoiceExample):
        return 0
    return draw(sorted(parts), generator)

"""Classify by prompts: the pretrained model fills a gap in a template, with no new parameter.

    template      {text} It was [MASK].            verbaliser      good=positive,bad=negative
    p(label) = softmax(logits at [MASK], of the words of the labels alone)[word of the label]

Pattern-exploiting training (Schick & Schütze 2021, arXiv:2001.07676; Gao et al. 2021,
arXiv:2012.15723): the masked-language model knows the words before it has seen an example, so it
can answer at once (`epochs` 0), and needs few examples to answer better; the loss is that of
classification. Where a text is too long, it is cut, never the template.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from jaxtyping import Float
from torch import Tensor

from plainformer.base import UserError, plural
from plainformer.encoder import MaskedLM
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.data.batch import Batch, Item
from plainformer.finetune.task import check_labels
from plainformer.finetune.task_options import LabelOptions, TaskOptions
from plainformer.finetune.tasks.classification import ClassExample, Classification
from plainformer.finetune.tasks.texts import chosen
from plainformer.finetune.tuning.adapter import add_tensors
from plainformer.tokenizer import Encoding, Tokenizer, load_tokenizer
from plainformer.tokenizer.encoding import longest_first

if TYPE_CHECKING:
    from plainformer.finetune.config import FinetuneConfig

TEXT, PAIR, MASK = "{text}", "{pair}", "[MASK]"
PARTS = re.compile(r"(\{text\}|\{pair\}|\[MASK\])")


@dataclass(frozen=True, kw_only=True)
class PromptOptions(LabelOptions):
    """Classify by the word that a masked language model fills into a template."""

    name: Literal["prompt"] = "prompt"

    verbaliser: str
    """The words that may fill [MASK] and the label that each stands for: great=good,terrible=bad.
    Each word is one token of the model's vocabulary."""

    template: str = "{text} It was [MASK]."
    """Fill in this template: {text}, [MASK] for the word of the label, {pair} of a pair."""

    templates: tuple[str, ...] = ()
    """PET, for few labels: train a model with each of these templates, let all of them label the
    --unlabelled texts, and train an ordinary classifier on that, which is what the run keeps."""

    def __post_init__(self) -> None:
        """Check the templates and the verbaliser."""
        super().__post_init__()
        for template in (self.template, *self.templates):
            check_template(template)
        if self.templates and self.template != PromptOptions.template:
            raise UserError("template is one, templates are several: give one of the two options")
        read_verbaliser(self.verbaliser)

    def check(self, config: "FinetuneConfig") -> None:
        """Raise `UserError` where several templates have no texts to label, or other teachers."""
        if not self.templates:
            return
        if config.unlabelled.unlabelled is None:
            raise UserError("templates label texts: give unlabelled, or a single template")
        for name in (
            *config.unlabelled.changed,
            *(["teacher"] if config.distillation.teacher else []),
        ):
            raise UserError(
                f"templates teach a classifier in one round, without {name}: leave one out"
            )


@dataclass(frozen=True, kw_only=True)
class Prompt(Classification):
    """Choose the label whose word fills the gap of a template."""

    Options: ClassVar[type[TaskOptions]] = PromptOptions

    template: str
    """The template, with {text} and [MASK] once, and maybe {pair}."""
    words: tuple[str, ...]
    """The word of each label."""
    word_ids: tuple[int, ...]
    """The tokens of the words."""
    mask_id: int

    def __post_init__(self) -> None:
        """Check the words."""
        super().__post_init__()
        check_labels(self.labels, words=self.words, word_ids=self.word_ids)

    @classmethod
    def fit(cls, config: "FinetuneConfig", examples: Sequence[ClassExample]) -> "Prompt":
        """Learn the labels of the verbaliser, whether or not they occur."""
        options = config.task
        assert isinstance(options, PromptOptions)
        words, labels = read_verbaliser(options.verbaliser)
        tokenizer = load_tokenizer(config.model)
        template = options.templates[0] if options.templates else options.template
        ids = tuple(word_id(tokenizer, template, word) for word in words)
        if len(set(ids)) < len(ids):
            raise UserError("two words of the verbaliser are the same token: choose another")
        return cls(
            labels=labels,
            words=words,
            word_ids=ids,
            template=template,
            mask_id=tokenizer.mask_id,
            max_length=config.max_length,
        )

    def build(self, config: "FinetuneConfig") -> PretrainedModel:
        """Load the masked-language model as it was pretrained."""
        return MaskedLM.from_pretrained(config.model, dropout=config.dropout)

    def load(self, folder: Path) -> PretrainedModel:
        """Load the masked-language model in `folder`."""
        return MaskedLM.from_pretrained(folder, add=add_tensors)

    def encodings(self, example: ClassExample, tokenizer: Tokenizer) -> tuple[Encoding, ...]:
        """Encode the filled template as one sequence; masks in the text itself are left out.

        Raises `UserError` for a pair where the template has no {pair}, and the reverse.
        """
        if (example.pair is None) == (PAIR in self.template):
            one, other = ("a row has no", "a") if example.pair is None else ("has a", "no")
            raise UserError(f"{example.source}: {one} pair, and the template has {other} {PAIR}")
        return (self.filled(example.text, example.pair, tokenizer),)

    def fill(
        self, text: str, pair: str | None, tokenizer: Tokenizer
    ) -> tuple[str, dict[str, tuple[int, int]]]:
        """Return the template with text, pair and mask in it, and the span of each part."""
        values = {TEXT: text, PAIR: pair or "", MASK: tokenizer.special_tokens["mask"]}
        whole = ""
        spans: dict[str, tuple[int, int]] = {}
        for part in PARTS.split(self.template):
            begin, whole = len(whole), whole + values.get(part, part)
            spans[part] = begin, len(whole)
        return whole, spans

    def filled(self, text: str, pair: str | None, tokenizer: Tokenizer) -> Encoding:
        """Encode the template with text and pair in it; the longer of them is cut first."""
        whole, spans = self.fill(text, pair, tokenizer)
        tokens = tokenizer.tokens(whole)

        def inside(part: str) -> list[int]:
            begin, end = spans.get(part, (len(whole), len(whole)))
            # The ▁ that SentencePiece puts before a word after [MASK] has no width.
            return [i for i, (a, b) in enumerate(tokens.offsets) if begin <= a < end and b <= end]

        given = {*inside(TEXT), *inside(PAIR)}
        fixed = [i for i in range(len(tokens)) if i not in given]
        a, b = ([i for i in inside(p) if tokens.ids[i] != self.mask_id] for p in (TEXT, PAIR))
        room = tokenizer.template.room(self.max_length, is_pair=False)
        assert room is not None
        if room <= len(fixed):
            raise UserError(
                f"max_length {self.max_length} leaves no room for text beside the template, which "
                f"has {plural(len(fixed), 'token')}"
            )
        keep_a, keep_b = longest_first(len(a), len(b), room - len(fixed))
        kept = sorted([*fixed, *a[:keep_a], *b[:keep_b]])
        return tokenizer.template.encode(chosen(tokens, kept), None, len(tokens) - len(kept))

    def outputs(self, model: PretrainedModel, batch: Batch[Item]) -> Float[Tensor, "items labels"]:
        """Compute the logits of the labels' words at [MASK]; no other token is projected."""
        is_mask = batch.input_ids == self.mask_id  # once in each sequence
        index = torch.arange(len(is_mask), device=is_mask.device)
        gaps = batch.sequences.sum((index * is_mask)[:, None]).squeeze(1)
        logits: Float[Tensor, "sequences vocab"] = model(
            batch.input_ids, None, batch.token_type_ids, batch.sequences, target_positions=gaps
        )
        words = batch.on_device(self.word_ids)
        return self.calibrated(batch.in_order(logits[:, words].float()))


def check_template(template: str) -> None:
    """Raise `UserError` unless a template has one {text}, one [MASK], and at most one {pair}."""
    parts = PARTS.split(template)
    counts = [parts.count(part) for part in (TEXT, MASK, PAIR)]
    unknown = [part for part in re.findall(r"\{\w*\}", template) if part not in (TEXT, PAIR)]
    if counts[:2] != [1, 1] or counts[2] > 1 or unknown:
        raise UserError(
            f"the template {template!r} should have {TEXT} and {MASK} once, and at most once {PAIR}"
            + (f"; it has {unknown[0]}" if unknown else "")
        )


def read_verbaliser(text: str) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Parse `word=label,word=label` into words and labels; raise `UserError` for anything else."""
    words, labels = [], []
    for entry in text.split(","):
        word, sign, label = (part.strip() for part in entry.partition("="))
        if not (word and sign and label):
            raise UserError(f"the verbaliser {text!r} should be word=label,word=label, …")
        if label in labels:
            raise UserError(f"the verbaliser has two words for {label!r}: keep one")
        words.append(word)
        labels.append(label)
    if len(labels) < 2:
        raise UserError(f"the verbaliser {text!r} has a single label: there is nothing to learn")
    return tuple(words), tuple(labels)


def word_id(tokenizer: Tokenizer, template: str, word: str) -> int:
    """Return the token of a word in the place of [MASK]: after a space, in a word, or first.

    Raises `UserError` for a word that is not one token of the vocabulary.
    """
    before = template[: template.index(MASK)]
    # A mask stands for the text before it: the tokens of a word depend on no more than that.
    lead = tokenizer.special_tokens["mask"] if before else ""
    lead += " " if before[-1:].isspace() else ""
    ids = tokenizer.tokens(lead + word).ids[bool(lead) :]
    if len(ids) != 1 or ids[0] in tokenizer.special_ids:
        pieces = " ".join(map(tokenizer.token, ids))
        raise UserError(
            f"{word!r} of the verbaliser is not one token of the vocabulary, but {pieces}: choose "
            "another word"
        )
    return ids[0]

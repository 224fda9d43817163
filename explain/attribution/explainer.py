"""Explain what a fine-tuned model predicts, by one of several methods of attribution."""

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Float

from plainformer.base import Inference, UserError, did_you_mean
from plainformer.corpora import Row
from plainformer.encoder.int8 import is_int8
from plainformer.explain.attribution.decision import decisions_of
from plainformer.explain.attribution.judge import Judged, judge
from plainformer.explain.attribution.methods import METHODS, Method
from plainformer.explain.attribution.variants import Variants
from plainformer.explain.attribution.words import WordOf, words_of
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.data.rows import Input, as_rows, bounded
from plainformer.finetune.ensemble import Finetuned
from plainformer.finetune.placement import Placement
from plainformer.finetune.prediction.predictor import (
    Predictor,
    Progress,
    encode_all,
    no_progress,
)
from plainformer.finetune.task import AnyTask
from plainformer.finetune.tasks.prompt import Prompt
from plainformer.tokenizer import Tokenizer

Watch = Callable[[int], AbstractContextManager[Progress]]


def unwatched(_number: int) -> AbstractContextManager[Progress]:
    """Report nothing."""
    return nullcontext(no_progress)


@dataclass(frozen=True)
class Explanation:
    """The attribution of one decision to the words of its input, and how good it is."""

    decision: str
    value: float
    """The number that is attributed: log-odds, a score, a cosine."""
    certainty: float
    """The probability of the decision, where it has one."""
    method: str
    texts: tuple[str, ...]
    words: tuple[WordOf, ...]
    attributions: Float[np.ndarray, " words"]
    gap: float | None
    """By how much the sum of the attributions misses what it should be, as a share of it; None for
    a method without such a sum."""
    stability: float | None
    """The rank correlation of two seeds; None for a method without chance."""
    judged: Judged

    def ranked(self) -> list[tuple[WordOf, float]]:
        """Return the words with their attributions, the highest first."""
        order = np.argsort(-self.attributions, kind="stable")
        return [(self.words[i], float(self.attributions[i])) for i in order]


@dataclass(frozen=True)
class Explainer:
    """A fine-tuned model, and what is needed to explain it."""

    predictor: Predictor

    @classmethod
    def load(cls, folder: str | Path, device: str = "auto") -> "Explainer":
        """Load a fine-tuned model; raise `UserError` for a folder without one."""
        placement = Placement.of(Inference(device, "fp32"))  # gradients need its range
        found = Finetuned.load(folder)
        model = placement.move(found.model).requires_grad_(False)
        return cls(Predictor(found.task, model, found.tokenizer))

    def explain(
        self, inputs: Iterable[Input], method: str = "integrated-gradients", seed: int = 0
    ) -> Iterator[list[Explanation]]:
        """Yield the explanations of each text, pair or row: one for each decision."""
        task = self.predictor.task
        return self.explain_rows(task.naming((), task.columns).of(as_rows(inputs)), method, seed)

    def explain_rows(
        self,
        rows: Iterable[Row],
        method: str = "integrated-gradients",
        seed: int = 0,
        watch: Watch = unwatched,
    ) -> Iterator[list[Explanation]]:
        """Yield the explanations of each row: one for each decision.

        `watch` is called with the number of each row, from 1; within the context that it returns,
        the work on that row is reported.

        Raises `UserError` for an unknown method, a row without words, and where a method needs
        gradients that the model has not.
        """
        chosen = method_of(method)
        if chosen.needs_gradients and is_int8(self.predictor.model):
            raise UserError(f"{method} needs gradients, and int8 has none: take occlusion")
        for number, row in enumerate(bounded(rows), start=1):
            example = self.predictor.task.read(row, labelled=False)
            with watch(number) as progress:
                found = self._explain(example, method, chosen, seed, progress)
            yield found

    def _explain(
        self, example: Any, name: str, method: Method, seed: int, progress: Progress
    ) -> list[Explanation]:
        variants, texts = self.variants_of(example)
        variants = replace(variants, progress=progress)
        if not variants.decisions:
            return []
        found = method.attribute(variants, seed)
        whole = np.ones((1, len(variants.words)), bool)
        values = variants.values(whole)[0], variants.values(whole, "certainty")[0]
        judged = judge(variants, found.attributions, seed)
        return [
            Explanation(
                decision=decision.name,
                value=float(values[0][number]),
                certainty=float(values[1][number]),
                method=name,
                texts=texts,
                words=variants.words,
                attributions=found.attributions[number],
                gap=None if found.gaps is None else float(found.gaps[number]),
                stability=None if found.stability is None else float(found.stability[number]),
                judged=judged[number],
            )
            for number, decision in enumerate(variants.decisions)
        ]

    def variants_of(self, example: Any) -> tuple[Variants, tuple[str, ...]]:
        """Return the variants of an example, and its texts; raise `UserError` for no words."""
        task, model, tokenizer = (
            self.predictor.task,
            self.predictor.model,
            self.predictor.tokenizer,
        )
        ((_, item),) = encode_all(task, tokenizer, [example])
        texts, words = words_of(task, example, item, tokenizer)
        if not words:
            raise UserError(f"{example.source}: the text is empty: there is nothing to explain")
        with torch.no_grad():
            batch = Batch.of([item]).to(model.device)
            (prediction,) = task.predict(task.outputs(model, batch), batch)
        decisions = decisions_of(task, item, prediction)
        return Variants(task, model, item, words, decisions, baseline_id(task, tokenizer)), texts


def method_of(name: str) -> Method:
    """Return the method of a name; raise `UserError` for an unknown one."""
    if name not in METHODS:
        hint = did_you_mean(name, METHODS) or f": choose {', '.join(METHODS)}"
        raise UserError(f"there is no method {name!r}{hint}")
    return METHODS[name]


def baseline_id(task: AnyTask, tokenizer: Tokenizer) -> int:
    """Return the token that stands for nothing: the mask; the unknown token where there is no mask,
    or where the answer stands at the mask.
    """
    has_mask = "mask" in tokenizer.special_tokens and not isinstance(task, Prompt)
    return tokenizer.id(tokenizer.special_tokens["mask" if has_mask else "unk"])

"""Compare a model folder with `transformers` (eager attention, fp32) on the same texts.

Stage by stage and head by head (`explain.parity`), the tokenizers id by id, the number of
parameters, and the time for each real token: median over rounds in which both sides take turns.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from importlib import import_module
from itertools import cycle, islice, pairwise
from pathlib import Path
from statistics import median
from typing import Any

import torch

from plainformer.base import UserError, read_json
from plainformer.base.extras import need
from plainformer.base.figures import BLUE, GREY, ORANGE, panel, save_png
from plainformer.encoder.declared import load_declared
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights import (
    family_of,
    find,
)
from plainformer.encoder.weights.native import NATIVE
from plainformer.explain.heads import Batch, run_theirs
from plainformer.explain.parity import Difference, accepted_by, compare_models
from plainformer.tokenizer import Tokenizer, load_tokenizer
from plainformer.tokenizer.encoding import trim

BATCH_SIZE = 16
ROUNDS = 7
LONGEST = 8192
"""Tokens of a text at most, also where a rotary model allows more."""
SENTENCES = (
    "Plain text.",
    "A model is trusted when it can be checked, number by number.",
    "The naïve façade of the café on Straße 42 didn't survive 1,000,000 visitors!",
    "我们在中国学习语言模型。",
    "unbelievably, 「quoted」 text – with dashes … and an emoji 😀 at the end",
    "Attention lets every token look at all others, and weighs what it finds there. The layers "
    "above do the same with what the layers below have found, so that each vector holds more and "
    "more of its context; at the end a head reads off what was asked for.",
    "x",
    "",
)


MOST_ADDED = 200
"""Added tokens at most that are compared."""


@dataclass(frozen=True)
class Agreement:
    """The number of texts or ids on which the two tokenizers agree in one property."""

    what: str
    equal: int
    total: int
    unit: str = "texts and pairs"


@dataclass(frozen=True)
class Comparison:
    """The results of `plainformer compare`; in each pair, ours comes before theirs."""

    architecture: str
    tolerance: float
    stages: list[Difference]
    hint: str | None
    tokenizers: list[Agreement]
    parameters: tuple[int, int]
    microseconds_per_token: tuple[float, float]

    @property
    def agrees(self) -> bool:
        """Tell whether all stages are within the tolerance and the tokenizers agree."""
        exact = all(agreement.equal == agreement.total for agreement in self.tokenizers)
        return exact and all(stage.within(self.tolerance) for stage in self.stages)

    def to_json(self) -> dict[str, Any]:
        """Return all results as JSON types."""
        return asdict(self)

    def draw(self, png: Path) -> None:
        """Plot the error against depth, with the tolerance as a line."""
        figure, axes = panel(max(5.0, 1.5 + 0.4 * len(self.stages)), 3.8)
        names = [stage.stage for stage in self.stages]
        # Zero has no logarithm: exact stages are drawn at the bottom.
        foot = min(self.tolerance, 1e-5) * 1e-5
        for kind, colour in (("maximum", ORANGE), ("mean", BLUE)):
            errors = [max(getattr(stage, kind), foot) for stage in self.stages]
            axes.plot(names, errors, "o-", color=colour, markersize=3.5, label=kind)
        bounds = [stage.bound(self.tolerance) for stage in self.stages]
        axes.plot(names, bounds, "--", color=GREY, label="tolerance")
        axes.set_yscale("log")
        axes.set_ylabel("absolute difference")
        axes.set_title(f"{self.architecture}: plainformer against transformers", fontsize=11)
        axes.tick_params(axis="x", labelrotation=90 if len(names) > 6 else 0)
        axes.legend(frameon=False)
        save_png(figure, png)


def compare_folder(
    folder: str | Path, texts: Sequence[str] = SENTENCES, tolerance: float = 1e-5
) -> Comparison:
    """Load `folder` on both sides, and compare them on `texts`, in padded batches of 16.

    Raises `UserError` where `transformers` is not installed, or one side cannot load the folder.
    """
    if not texts:
        raise UserError("there is no text to compare on")
    import_transformers()
    folder = find(folder)
    ours, architecture, without = our_model(folder)
    tokenizer = load_tokenizer(folder)
    theirs, their_tokenizer = their_model(folder, architecture), their_tokenizer_of(folder)
    limit = length_limit(ours.base, tokenizer)
    whole = [text for text in texts if len(tokenizer.encode(text))]  # without [CLS], "" is nothing
    batches = [
        tokenizer.batch(whole[start : start + BATCH_SIZE], max_length=limit)
        for start in range(0, len(whole), BATCH_SIZE)
    ]
    if not batches:
        raise UserError("the texts have no tokens: there is nothing to compare on")
    if max(int(batch["input_ids"].max()) for batch in batches) >= ours.config.vocab_size:
        raise UserError(
            f"{folder}: the tokenizer has ids for which the model has no vector: "
            "they do not belong together"
        )
    stages, hint = compare_models(ours, theirs, batches, tolerance)
    return Comparison(
        architecture=type(theirs).__name__ + without,
        tolerance=tolerance,
        stages=stages,
        hint=hint,
        tokenizers=compare_tokenizers(tokenizer, their_tokenizer, texts, limit),
        parameters=(_parameters(ours), _parameters(theirs)),
        microseconds_per_token=timed(ours, theirs, batches),
    )


def our_model(folder: Path) -> tuple[PretrainedModel, str | None, str]:
    """Load `folder` with the head that its config names, see `encoder.load_declared`.

    Raises `UserError` for a shape that `transformers` cannot express.
    """
    raw = read_json(folder / "config.json")
    try:
        family = family_of(raw)
    except UserError as error:
        raise UserError(f"{folder}: {error}") from None
    if family is NATIVE:
        raise UserError(
            f"{folder} has a shape that transformers cannot express (its model_type is "
            f"{NATIVE.model_type}): there is nothing to compare it with"
        )
    return load_declared(folder)


def their_model(folder: Path, architecture: str | None) -> Any:
    """Load the folder with `transformers`."""
    transformers = import_transformers()
    kind = getattr(transformers, architecture) if architecture else transformers.AutoModel
    return _opened(
        lambda: kind.from_pretrained(
            folder, attn_implementation="eager", dtype=torch.float32, local_files_only=True
        ),
        folder,
    ).eval()


def their_tokenizer_of(folder: Path) -> Any:
    """Load the tokenizer of the folder with `transformers`."""
    transformers = import_transformers()
    return _opened(
        lambda: transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True), folder
    )


def import_transformers() -> Any:
    """Import `transformers` without its warnings; raise `UserError` if it is not installed."""
    need("transformers", extra="compare", purpose="comparing")
    transformers: Any = import_module("transformers")
    transformers.utils.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    return transformers


def _opened(load: Callable[[], Any], folder: Path) -> Any:
    # `transformers` raises the errors of its dependencies, too.
    try:
        return load()
    except Exception as error:
        reason = str(error).strip().partition("\n")[0]
        raise UserError(f"{folder}: transformers cannot open it: {reason}") from None


def length_limit(model: PretrainedModel, tokenizer: Tokenizer) -> int:
    """Return the longest sequence that both the model and its tokenizer accept."""
    places = min(model.config.max_position_embeddings, LONGEST)
    return min(tokenizer.max_length or places, places)


def compare_tokenizers(
    ours: Tokenizer, theirs: Any, texts: Sequence[str], max_length: int
) -> list[Agreement]:
    """Count how often ids, type ids, mask, offsets and single tokens agree.

    On each text and each pair of neighbours, and on a text for each token that the folder adds.
    Offsets are compared without the white space before a token, which theirs leave in for some; a
    token without source, such as a space put before the text, they give its neighbour's.
    """
    added = (
        f"the {token} of{token}s {token.upper()}, {token.lower()}"
        for token in list(theirs.get_added_vocab())[:MOST_ADDED]
    )
    pairs = [*((text, None) for text in (*texts, *added)), *pairwise(texts)]
    offsets = ["offsets"] if theirs.is_fast else []
    equal = dict.fromkeys(["ids", "type ids", "attention mask", *offsets], 0)
    for text, pair in pairs:
        # As lists: given two strings, theirs drops an empty pair.
        found = theirs(
            [text],
            None if pair is None else [pair],
            truncation="longest_first",
            max_length=max_length,
            padding="max_length",
            padding_side="right",
            return_token_type_ids=True,
            return_offsets_mapping=theirs.is_fast,
        )
        other = {name: rows[0] for name, rows in found.items()}
        mine = ours.encode(text, pair, max_length=max_length)
        size = len(mine)
        padding = max_length - size
        # Without token types in `model_input_names`, a model gets zeros.
        types = other["token_type_ids"] if ours.gives_token_types else [0] * size
        equal["ids"] += mine.ids == other["input_ids"][:size]
        equal["type ids"] += mine.type_ids == types[:size]
        equal["attention mask"] += other["attention_mask"] == [1] * size + [0] * padding
        if theirs.is_fast:
            sources = [text if n != 1 else pair for n in mine.sequence_ids]
            spans = zip(sources, other["offset_mapping"][:size], strict=True)
            trimmed = (
                trim(source or "", *span) if span[1] > span[0] else tuple(span)
                for source, span in spans
            )
            equal["offsets"] += all(
                span == other_span or span[0] == span[1] == other_span[0]
                for span, other_span in zip(mine.offsets, trimmed, strict=True)
            )
    return [
        *(Agreement(what, count, len(pairs)) for what, count in equal.items()),
        _vocabularies(ours, theirs),
    ]


def _vocabularies(ours: Tokenizer, theirs: Any) -> Agreement:
    here = [ours.token(id) for id in range(ours.vocab_size)]
    there = theirs.convert_ids_to_tokens(list(range(len(theirs))))
    equal = sum(one == other for one, other in zip(here, there, strict=False))
    return Agreement("vocabulary", equal, max(len(here), len(there)), "ids")


@torch.no_grad()
def timed(ours: PretrainedModel, theirs: Any, batches: Sequence[Batch]) -> tuple[float, float]:
    """Return the median microseconds per real token of both sides, timed in turns."""
    inputs = [accepted_by(theirs, batch) for batch in batches]
    times: tuple[list[float], list[float]] = ([], [])

    def ours_runs(batch: Batch) -> None:
        ours(**batch)

    def theirs_runs(batch: Batch) -> None:
        run_theirs(theirs, ours, batch)

    for batch in islice(cycle(inputs), ROUNDS):
        tokens = int(batch["attention_mask"].sum())
        for run, taken in zip((ours_runs, theirs_runs), times, strict=True):
            start = time.perf_counter()
            run(batch)
            taken.append(1e6 * (time.perf_counter() - start) / tokens)
    return median(times[0]), median(times[1])


def _parameters(model: torch.nn.Module) -> int:
    return sum(parameter.numel() for parameter in model.parameters())

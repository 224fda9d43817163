"""Compare our model with that of `transformers` on the same batches, stage by stage.

The stages are the embeddings, the output of each layer, the pooler, and the head's logits. At each,
over the real tokens,

    max = max |o − t|,    mean = mean |o − t|,    cosine = min o · t / (|o| |t|)

with o a vector of ours, t its counterpart, the maximum and the mean over all their numbers and the
least cosine over all vectors. A stage agrees when max ≤ tolerance · max(1, largest |t|): float32
has seven digits, so logits of 30 or 40 differ in the fifth place even between two kernels of one
library.

A mistake stands in the first stage that does not agree; `explain.first_difference` finds its part.
"""

import inspect
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from plainformer.encoder.pretrained import PretrainedModel
from plainformer.explain.first_difference import find_first_difference
from plainformer.explain.heads import Batch, our_outputs, their_outputs


@dataclass(frozen=True)
class Difference:
    """The difference of the vectors of one stage."""

    stage: str
    maximum: float
    mean: float
    cosine: float
    largest: float
    """The largest absolute value of theirs."""
    vectors: int
    """The number of vectors that were compared."""

    @classmethod
    def between(
        cls, stage: str, ours: Float[Tensor, "vectors size"], theirs: Float[Tensor, "vectors size"]
    ) -> "Difference":
        """Compute the difference of two stacks of vectors in float64."""
        ours, theirs = ours.double(), theirs.double()
        error = (ours - theirs).abs()
        cosine = torch.cosine_similarity(ours, theirs, dim=-1).min()
        maximum, mean, largest = error.max(), error.mean(), theirs.abs().max()
        return cls(stage, float(maximum), float(mean), float(cosine), float(largest), len(ours))

    @classmethod
    def over(cls, batches: Sequence["Difference"]) -> "Difference":
        """Merge the differences of one stage over several batches."""
        # torch keeps a NaN; Python's max and min may lose it.
        maxima, means, cosines, sizes, counts = torch.tensor(
            [(d.maximum, d.mean, d.cosine, d.largest, d.vectors) for d in batches],
            dtype=torch.float64,
        ).T
        return cls(
            batches[0].stage,
            maximum=float(maxima.max()),
            mean=float((means * counts).sum() / counts.sum()),
            cosine=float(cosines.min()),
            largest=float(sizes.max()),
            vectors=int(counts.sum()),
        )

    def bound(self, tolerance: float) -> float:
        """Return the largest difference that counts as agreement."""
        return tolerance * max(1.0, self.largest)

    def within(self, tolerance: float) -> bool:
        """Tell whether every difference is within the bound; NaN is not."""
        return self.maximum <= self.bound(tolerance)


@torch.no_grad()
def compare_models(
    ours: PretrainedModel, theirs: Any, batches: Iterable[Batch], tolerance: float = 1e-5
) -> tuple[list[Difference], str | None]:
    """Compute the difference of each stage by depth, and a hint where one exceeds `tolerance`.

    `theirs` is a `transformers` model of the same family and head, or a base model where ours is an
    `Encoder`; both are in evaluation mode. A batch holds `input_ids` and `attention_mask`
    (batch, seq), and may hold `token_type_ids`.
    """
    inputs = [accepted_by(theirs, batch) for batch in batches]
    found = [
        [
            Difference.between(stage, mine, other)
            for (stage, mine), (_, other) in zip(*both, strict=True)
        ]
        for both in (common(our_stages(ours, b), their_stages(theirs, ours, b)) for b in inputs)
    ]
    differences = [Difference.over(batch) for batch in zip(*found, strict=True)]
    for number, difference in enumerate(differences):
        if not difference.within(tolerance):
            worst = max(range(len(inputs)), key=lambda i: _size(found[i][number].maximum))
            part = find_first_difference(ours, theirs, inputs[worst], tolerance)
            return differences, f"the first difference is in {difference.stage}: {part}"
    return differences, None


def accepted_by(theirs: Any, batch: Mapping[str, Tensor]) -> Batch:
    """Select the inputs that their model takes: not every family has `token_type_ids`."""
    names = inspect.signature(theirs.forward).parameters
    return {name: tensor for name, tensor in batch.items() if name in names}


def our_stages(ours: PretrainedModel, batch: Batch) -> dict[str, Tensor]:
    """Return the vectors of each stage, `(vectors, size)`."""
    encoder = ours.base
    out = encoder(**batch, output_hidden_states=True)
    outputs = {} if ours is encoder else our_outputs(ours, batch)
    return {**_stages(batch, out.hidden_states, out.pooler_output), **outputs}


def their_stages(theirs: Any, ours: PretrainedModel, batch: Batch) -> dict[str, Tensor]:
    """Return the same stages of their model, as far as it has them."""
    base = theirs.base_model
    out = base(**batch, output_hidden_states=True, return_dict=True)
    outputs = {} if theirs is base else their_outputs(theirs, ours, batch)
    return {**_stages(batch, out.hidden_states, getattr(out, "pooler_output", None)), **outputs}


def _stages(
    batch: Batch, hidden_states: Sequence[Tensor], pooled: Tensor | None
) -> dict[str, Tensor]:
    real = batch["attention_mask"].bool()
    names = ["embeddings", *(f"layer {i}" for i in range(len(hidden_states) - 1))]
    stages = {name: states[real] for name, states in zip(names, hidden_states, strict=True)}
    return stages if pooled is None else {**stages, "pooler": pooled}


def common(
    ours: dict[str, Tensor], theirs: dict[str, Tensor]
) -> tuple[list[tuple[str, Tensor]], list[tuple[str, Tensor]]]:
    """Return the names of the stages of both sides, in order."""
    names = [name for name in ours if name in theirs]
    return [(name, ours[name]) for name in names], [(name, theirs[name]) for name in names]


def _size(error: float) -> float:
    return math.inf if math.isnan(error) else error

"""Register the pretraining objectives: each is one object in one file, and one line here.

| name      | question                                   | corruption         | loss             |
|-----------|--------------------------------------------|--------------------|------------------|
| `mlm`     | which tokens are masked?                   | `Masking`          | `masked_lm`      |
| `clm`     | which token comes next?                    | `next_tokens`      | `masked_lm`      |
| `denoise` | what was the text before it was corrupted? | `Denoising`        | `masked_lm`      |
| `rtd`     | which tokens were replaced?                | `Masking`          | `ReplacedTokens` |
| `nsp`     | does the second segment follow the first?  | `no_token_targets` | `SentencePairs`  |
| `sop`     | were the two segments swapped?             | `no_token_targets` | `SentencePairs`  |

One of the last two may stand beside `mlm` or `denoise`. With a teacher the loss of `mlm` is
`Distillation`.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from plainformer.base import UserError, did_you_mean
from plainformer.pretrain.objectives.base import PretrainingObjective, is_given
from plainformer.pretrain.objectives.causal_lm import CausalLMObjective, next_tokens
from plainformer.pretrain.objectives.denoising import Denoising, DenoisingObjective
from plainformer.pretrain.objectives.distillation import Distillation, load_teacher
from plainformer.pretrain.objectives.masked_lm import MaskedLMObjective, masked_lm
from plainformer.pretrain.objectives.replaced_tokens import (
    Electra,
    ReplacedTokenObjective,
    ReplacedTokens,
)
from plainformer.pretrain.objectives.sentence_pairs import (
    SegmentPairs,
    SentencePairObjective,
    SentencePairs,
    no_token_targets,
)

if TYPE_CHECKING:
    from plainformer.pretrain.config import PretrainConfig

__all__ = [
    "OBJECTIVES",
    "Denoising",
    "Distillation",
    "Electra",
    "MaskedLMObjective",
    "PretrainingObjective",
    "ReplacedTokens",
    "SegmentPairs",
    "SentencePairs",
    "check_options",
    "choose_objective",
    "load_teacher",
    "masked_lm",
    "next_tokens",
    "no_token_targets",
]

OBJECTIVES: dict[str, PretrainingObjective[Any]] = {
    objective.name: objective
    for objective in (
        MaskedLMObjective(),
        CausalLMObjective(),
        DenoisingObjective(),
        ReplacedTokenObjective(),
        SentencePairObjective("nsp"),
        SentencePairObjective("sop"),
    )
}


def choose_objective(names: Sequence[str]) -> PretrainingObjective[Any]:
    """Return the objective of these names: one, or two that are learned together.

    Raises `UserError` for an unknown name, and for names that do not go together.
    """
    for name in names:
        if name not in OBJECTIVES:
            known = ", ".join(OBJECTIVES)
            hint = did_you_mean(name, OBJECTIVES)
            raise UserError(f"objective must be one of {known}, not {name!r:.40}{hint}")
    found = [OBJECTIVES[name] for name in names]
    if len(found) == 1:
        return found[0]
    if len(found) == 2 and (both := found[0].beside(found[1]) or found[1].beside(found[0])):
        return both
    raise UserError(
        f"objective must be one of {', '.join(OBJECTIVES)}, or mlm or denoise with nsp or sop, "
        f"not {' '.join(names) or 'nothing'}"
    )


def check_options(config: "PretrainConfig", objective: PretrainingObjective[Any]) -> None:
    """Raise `UserError` for an option of another objective, and for values that do not work."""
    for option in sorted(set().union(*(other.options for other in OBJECTIVES.values()))):
        if option not in objective.options and is_given(config, option):
            readers = [name for name, other in OBJECTIVES.items() if option in other.options]
            raise UserError(
                f"{option} is an option of {', '.join(readers)}, not of "
                f"{' '.join(config.objective)}: leave it out"
            )
    objective.check(config)

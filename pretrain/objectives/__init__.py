"""What is learned, one idea a file: what is hidden from the model, and the loss.

| name      | what is asked                              | batches          | loss               |
|-----------|--------------------------------------------|------------------|--------------------|
| `mlm`     | which tokens are masked?                   | `Masking`        | `masked_lm`        |
| `clm`     | which token comes next?                    | `next_tokens`    | `masked_lm`        |
| `denoise` | what was the text before it was disturbed? | `Denoising`      | `masked_lm`        |
| `rtd`     | which tokens were replaced?                | `Masking`        | `ReplacedTokens`   |
| `nsp`     | does the second segment follow the first?  | `SegmentPairs`   | `SentencePairs`    |
| `sop`     | or were the two swapped?                   | `SegmentPairs`   | `SentencePairs`    |

One of the last two goes with `mlm` or `denoise`, too: both losses from one pass, added. With a
teacher the loss of `mlm` is `Distillation`.
"""

from plainformer.pretrain.objectives.causal_lm import next_tokens
from plainformer.pretrain.objectives.denoising import Denoising
from plainformer.pretrain.objectives.distillation import Distillation, load_teacher
from plainformer.pretrain.objectives.masked_lm import masked_lm
from plainformer.pretrain.objectives.replaced_tokens import Electra, ReplacedTokens
from plainformer.pretrain.objectives.sentence_pairs import (
    SegmentPairs,
    SentencePairs,
    no_token_targets,
)

__all__ = [
    "Denoising",
    "Distillation",
    "Electra",
    "ReplacedTokens",
    "SegmentPairs",
    "SentencePairs",
    "load_teacher",
    "masked_lm",
    "next_tokens",
    "no_token_targets",
]

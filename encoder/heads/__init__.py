"""Define the heads of the published model families.

Each model has the interface of `Encoder`: a padded batch, or a packed one when `sequences` is
given.

| model                | answers                           | from                           |
|----------------------|-----------------------------------|--------------------------------|
| `MaskedLM`           | which token stands here?          | the token's vector             |
| `PairedMaskedLM`     | and do two segments follow?       | the pooler's, of the whole     |
| `Discriminator`      | was this token replaced?          | the token's vector             |
| `SequenceClassifier` | which label has this text?        | one vector for the whole text  |
| `ChoiceScorer`       | does this option go with a text?  | one vector for the pair        |
| `TokenClassifier`    | which label has this token?       | the token's vector             |
| `QuestionAnswerer`   | where does an answer begin, end?  | the token's vector             |
| `SentenceEncoder`    | what does this text mean?         | the tokens' vectors, pooled    |
"""

from plainformer.encoder.heads.choice import ChoiceScorer
from plainformer.encoder.heads.discriminator import Discriminator
from plainformer.encoder.heads.masked_lm import MaskedLM
from plainformer.encoder.heads.paired_masked_lm import PairedMaskedLM
from plainformer.encoder.heads.parts import Pooling, pool
from plainformer.encoder.heads.sentence import SentenceEncoder
from plainformer.encoder.heads.sequence import SequenceClassifier
from plainformer.encoder.heads.span import QuestionAnswerer
from plainformer.encoder.heads.token import TokenClassifier

__all__ = [
    "ChoiceScorer",
    "Discriminator",
    "MaskedLM",
    "PairedMaskedLM",
    "Pooling",
    "QuestionAnswerer",
    "SentenceEncoder",
    "SequenceClassifier",
    "TokenClassifier",
    "pool",
]

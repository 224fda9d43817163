"""Define the heads of the published model families.

Every model takes the inputs of `Encoder` (`heads.headed_model`).

| model                | output                                  | computed from             |
|----------------------|-----------------------------------------|---------------------------|
| `MaskedLM`           | logits over the vocabulary              | each token's vector       |
| `PairedMaskedLM`     | the same, and two logits for each pair  | the pooler's output       |
| `Discriminator`      | logit: the token was replaced           | each token's vector       |
| `SequenceClassifier` | logits of the labels of a text          | one vector for a text     |
| `ChoiceScorer`       | score of a text with an option          | one vector for the pair   |
| `TokenClassifier`    | logits of the labels of a token         | each token's vector       |
| `QuestionAnswerer`   | start and end logits of an answer       | each token's vector       |
| `SentenceEncoder`    | a vector that represents the text       | the tokens' vectors, pooled |
"""

from plainformer.encoder.heads.choice import ChoiceScorer
from plainformer.encoder.heads.discriminator import Discriminator
from plainformer.encoder.heads.headed_model import HeadedModel, HeadedOutput
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
    "HeadedModel",
    "HeadedOutput",
    "MaskedLM",
    "PairedMaskedLM",
    "Pooling",
    "QuestionAnswerer",
    "SentenceEncoder",
    "SequenceClassifier",
    "TokenClassifier",
    "pool",
]

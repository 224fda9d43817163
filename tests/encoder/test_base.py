"""The encoder in a model of each class, and its blocks."""

import pytest

from plainformer.encoder import (
    ChoiceScorer,
    Discriminator,
    Encoder,
    MaskedLM,
    PairedMaskedLM,
    QuestionAnswerer,
    SentenceEncoder,
    SequenceClassifier,
    TokenClassifier,
)
from plainformer.encoder.block import Block
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.finetune.tasks.tagging.crf import ChainTagger
from tests.encoder.tools import bert

DENSE = bert(classifier_head="gelu")
MODELS = {
    "encoder": Encoder(bert()),
    "masked lm": MaskedLM(bert()),
    "paired masked lm": PairedMaskedLM(bert()),
    "discriminator": Discriminator(DENSE),
    "sequence classifier": SequenceClassifier(bert()),
    "choice scorer": ChoiceScorer(bert()),
    "token classifier": TokenClassifier(bert()),
    "question answerer": QuestionAnswerer(bert()),
    "sentence encoder": SentenceEncoder(Encoder(bert())),
    "chain tagger": ChainTagger(TokenClassifier(bert(), ["O", "B-X", "I-X"])),
}


@pytest.mark.parametrize("kind", MODELS)
def test_every_model_names_its_encoder(kind: str) -> None:
    model: PretrainedModel = MODELS[kind]
    (encoder,) = [module for module in model.modules() if isinstance(module, Encoder)]
    assert model.base is encoder
    assert [type(block) for block in model.base.blocks] == [Block, Block]


def test_a_block_that_serves_as_every_layer_is_listed_once() -> None:
    model = MaskedLM(bert(share_layers=True, num_hidden_layers=5))
    assert len(model.base.blocks) == 1

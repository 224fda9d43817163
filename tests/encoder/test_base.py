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
from plainformer.pretrain.objectives.replaced_tokens import Electra
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
    assert list(model.blocks) == list(model.base.blocks)


def test_the_blocks_of_electra_are_those_of_both_models() -> None:
    model = Electra(Discriminator(DENSE), MaskedLM(bert(hidden_size=16, embedding_size=32)))
    assert len(model.blocks) == 4
    assert set(model.blocks) == {m for m in model.modules() if isinstance(m, Block)}


def test_a_block_that_serves_as_every_layer_is_listed_once() -> None:
    model = MaskedLM(bert(share_layers=True, num_hidden_layers=5))
    assert len(model.base.blocks) == 1

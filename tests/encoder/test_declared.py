"""A folder of our own family opens with the head that it holds."""

import pytest
import torch

from plainformer.encoder import (
    Encoder,
    MaskedLM,
    PairedMaskedLM,
    QuestionAnswerer,
    SequenceClassifier,
    TokenClassifier,
)
from plainformer.encoder.declared import load_declared
from tests.encoder.tools import bert, padded, randomise

CONFIG = bert(positions="alibi", norm="rms_norm", num_hidden_layers=1)
MODELS = [
    Encoder(CONFIG),
    MaskedLM(CONFIG),
    PairedMaskedLM(CONFIG),
    SequenceClassifier(CONFIG, ["a", "b", "c"]),
    TokenClassifier(CONFIG, ["a", "b"]),
    QuestionAnswerer(CONFIG),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda model: type(model).__name__)
@torch.no_grad()
def test_it_has_its_head(model, tmp_path):
    randomise(model).eval().save_pretrained(tmp_path)
    found, name, _ = load_declared(tmp_path)
    assert type(found) is type(model)
    assert name == (None if type(model) is Encoder else type(model).__name__)
    batch = padded([5, 1, 9])
    for ours, theirs in zip(parts(model(**batch)), parts(found(**batch)), strict=True):
        assert torch.equal(ours, theirs)


def test_weights_without_the_head_are_an_encoder(tmp_path):
    MaskedLM(CONFIG).save_pretrained(tmp_path)
    config = (tmp_path / "config.json").read_text()
    Encoder(CONFIG, pooler=True).save_pretrained(tmp_path)
    (tmp_path / "config.json").write_text(config)
    found, name, remark = load_declared(tmp_path)
    assert type(found) is Encoder
    assert name is None
    assert remark == ", without the head of MaskedLM"


def parts(outputs):
    """The tensors of an output."""
    if isinstance(outputs, torch.Tensor):
        return (outputs,)
    return outputs if isinstance(outputs, tuple) else (outputs.last_hidden_state,)

"""Each layer's share of the learning rate: by its place, and as the weights move."""

from dataclasses import replace

import pytest
import torch

from plainformer.base import UserError
from plainformer.encoder import SequenceClassifier
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights import FAMILIES
from plainformer.finetune import FinetuneConfig, finetune
from plainformer.finetune.lr_decay import layer_multipliers
from plainformer.training import LoopConfig, TrainingConfig
from plainformer.training.optimizer import build_optimizer

SIZES = {
    "vocab_size": 50,
    "pad_token_id": 1,
    "hidden_size": 32,
    "num_hidden_layers": 3,
    "num_attention_heads": 2,
    "intermediate_size": 48,
    "max_position_embeddings": 40,
}
FAMILY = pytest.mark.parametrize("family", list(FAMILIES))


def small(family: str) -> SequenceClassifier:
    defaults = FAMILIES[family].defaults
    own = {"embedding_size": 16} if defaults.embedding_size else {}
    return SequenceClassifier(replace(defaults, **SIZES, **own))


def places(model: SequenceClassifier) -> dict[str, int]:
    """How many steps down from the head each parameter stands, by the module that holds it."""
    encoder = model.encoder
    tower = [encoder.embeddings, *encoder.blocks]
    low = {id(p) for p in encoder.distance_bias.parameters()} if encoder.distance_bias else set()
    steps = {
        id(p): len(tower) - number
        for number, module in enumerate(tower)
        for p in module.parameters()
    }
    steps |= dict.fromkeys(low, len(tower))
    return {name: steps.get(id(p), 0) for name, p in model.named_parameters()}


@FAMILY
def test_a_share_is_the_decay_to_the_power_of_the_steps_down(family):
    model = small(family)
    found = layer_multipliers(model, 0.5)
    wanted = {name: 0.5**steps for name, steps in places(model).items()}
    assert {name: found(name) for name in wanted} == wanted
    layers = 1 if model.config.share_layers else 3
    assert set(wanted.values()) == {0.5**steps for steps in range(layers + 2)}


@FAMILY
@pytest.mark.parametrize(("embeddings", "layers"), [(True, 0), (False, 1), (False, 3)])
def test_what_is_frozen_is_the_bottom_and_all_of_it(family, embeddings, layers):
    model = small(family)
    top = len(model.encoder.blocks)
    if layers > top:
        layers = top
    build_optimizer(model, TrainingConfig(), layer_multipliers(model, 0.9, embeddings, layers))
    frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
    assert frozen == {name for name, steps in places(model).items() if steps > top - layers}


def test_more_layers_than_there_are():
    with pytest.raises(UserError, match=r"^freeze_layers 4 is more than the 3 of this model$"):
        layer_multipliers(small("bert"), 1.0, freeze_layers=4)
    with pytest.raises(UserError, match="more than the 1 of this model, which all layers share"):
        layer_multipliers(small("albert"), 1.0, freeze_layers=2)


def run(models, files, out, **changes) -> tuple[FinetuneConfig, dict[str, torch.Tensor]]:
    """Fine-tune for one step of Adam, whose first step is the learning rate in every direction."""
    config = FinetuneConfig(
        model=models["modern"],
        train=files("valid"),
        valid=files("valid"),
        out=out,
        batch_size=50,
        max_length=32,
        dropout=0.0,
        epochs=1.0,
        training=LoopConfig(
            learning_rate=1e-3, schedule="constant", warmup=0.0, weight_decay=0.0, eps=1e-30
        ),
        **changes,
    )
    finetune(config, quiet=True)
    before = SequenceClassifier.from_pretrained(models["modern"], labels=("beast", "bird"))
    after = SequenceClassifier.from_pretrained(out)
    return config, moves(before.encoder, after.encoder)


def moves(before: PretrainedModel, after: PretrainedModel) -> dict[str, torch.Tensor]:
    old = before.state_dict()
    return {name: (tensor - old[name]).abs().max() for name, tensor in after.state_dict().items()}


def test_a_decayed_layer_moves_less(models, files, tmp_path):
    _, moved = run(models, files, tmp_path / "run", layer_decay=0.5)
    wanted = {"embeddings": 0.125, "blocks.0": 0.25, "blocks.1": 0.5, "final_norm": 1.0}
    for name, distance in moved.items():
        (share,) = (share for start, share in wanted.items() if name.startswith(start))
        assert distance == pytest.approx(1e-3 * share, rel=1e-3), name


def test_a_frozen_layer_is_saved_as_it_came(models, files, tmp_path):
    _, moved = run(models, files, tmp_path / "run", freeze_layers=1)
    assert {name for name, distance in moved.items() if distance == 0} == {
        name for name in moved if name.startswith(("embeddings", "blocks.0"))
    }


def test_too_many_frozen_layers_are_refused_before_any_work(models, files, tmp_path):
    with pytest.raises(UserError, match="freeze_layers 3 is more than the 2"):
        run(models, files, tmp_path / "run", freeze_layers=3)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("changes", [{"layer_decay": 0.0}, {"layer_decay": 1.1}])
def test_settings_that_cannot_work(models, files, tmp_path, changes):
    with pytest.raises(UserError, match="layer_decay must be above 0 and at most 1"):
        run(models, files, tmp_path / "run", **changes)

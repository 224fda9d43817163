"""IA³ equal to peft, in parts and merged; bottleneck adapters equal to their formula; folders."""

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from plainformer.base import UserError, read_json, write_json
from plainformer.encoder import (
    Encoder,
    SequenceClassifier,
    TokenClassifier,
    prepack_weights,
    quantize_int8,
    use_backend,
)
from plainformer.encoder.weights import FAMILIES
from plainformer.finetune import FinetuneConfig, TuningOptions
from plainformer.finetune.tuning import (
    add_adapters,
    add_ia3,
    add_lora,
    add_tensors,
    merge_added,
    mixed,
    save_adapter,
)
from plainformer.finetune.tuning.ia3 import ScaledLinear
from tests.encoder.families import OURS, inputs, pair, rotate_without_rounding, their_class
from tests.encoder.tools import assert_close, bert, modern, padded, randomise
from tests.finetune.test_lora import added_of, drawn, trained

peft = pytest.importorskip("peft")

METHODS = {
    "ia3": add_ia3,
    "pfeiffer": lambda model: add_adapters(model, 5),
    "houlsby": lambda model: add_adapters(model, 5, twice=True),
}
EACH = pytest.mark.parametrize("add", METHODS.values(), ids=METHODS)
CONFIGS = pytest.mark.parametrize("config", [bert(), bert(share_layers=True), modern()])
BATCH = padded([7, 3, 12])
# target_modules; feedforward_modules. "output.dense" are the last layers of attention, too.
THEIR_TARGETS: dict[str, tuple[list[str], list[str]]] = {
    "bert": (["key", "value", "output.dense"], ["output.dense"]),
    "roberta": (["key", "value", "output.dense"], ["output.dense"]),
    "distilbert": (["k_lin", "v_lin", "lin2"], ["lin2"]),
    "modernbert": (["Wqkv", "mlp.Wo"], ["mlp.Wo"]),
}
FAMILY = pytest.mark.parametrize("family", list(THEIR_TARGETS))


@pytest.fixture(autouse=True)
def unrounded(monkeypatch: pytest.MonkeyPatch) -> None:
    rotate_without_rounding(monkeypatch)


@EACH
@CONFIGS
def test_at_the_start_the_model_computes_what_it_did(config: Any, add: Any) -> None:
    model = randomise(SequenceClassifier(config)).double()
    before, names = model(**BATCH), {name for name, _ in model.named_parameters()}
    add(model)
    assert_close(model(**BATCH), before, 1e-12)
    assert names == {name for name, _ in model.named_parameters()} - added_of(model).keys()
    head = {name for name in names if not name.startswith("encoder.")}
    assert head and trained(model) == head | set(added_of(model))
    assert not drawn(model)(**BATCH).equal(before)


def scaled_by_peft(family: str, folder: Path) -> Any:
    """A model of peft with IA³, randomly scaled."""
    pair(family, "SequenceClassifier", folder)
    theirs = their_class(family, "SequenceClassifier").from_pretrained(folder)
    targets, feed_forward = THEIR_TARGETS[family]
    settings = peft.IA3Config(
        task_type="SEQ_CLS", target_modules=targets, feedforward_modules=feed_forward
    )
    theirs = peft.get_peft_model(theirs, settings).eval()
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in theirs.named_parameters():
            if "ia3_l" in name:
                parameter += 0.3 * torch.randn_like(parameter)
    return theirs


@FAMILY
def test_outputs_and_gradients_are_those_of_peft(family: str, tmp_path: Path) -> None:
    theirs = scaled_by_peft(family, tmp_path / "base")
    theirs.save_pretrained(tmp_path / "adapter")
    theirs.double()
    ours = SequenceClassifier.from_pretrained(tmp_path / "adapter", add=add_tensors).double()
    logits, expected = ours(**inputs(family)), theirs(**inputs(family)).logits
    assert_close(logits, expected, 1e-10)
    logits.square().sum().backward()
    expected.square().sum().backward()
    gradients, count = dict(theirs.named_parameters()), 0
    for name, layer in ours.named_modules():
        for part in layer.parts if isinstance(layer, ScaledLinear) else ():
            names = FAMILIES[family].hf_names(f"{name}.weight", "SequenceClassifier")
            number = layer.fused_parts.index(part) if len(names) > 1 else 0
            place = names[number].removesuffix(".weight")
            their = gradients[f"base_model.model.{place}.ia3_l.default"].grad
            assert layer.scales[part].grad.abs().max() > 0
            assert_close(layer.scales[part].grad, their.flatten(), 1e-6)
            count += 1
    assert count == len(added_of(ours)) == sum("ia3_l" in name for name in gradients) >= 4


@FAMILY
def test_peft_opens_our_scales(family: str, tmp_path: Path) -> None:
    _, ours = pair(family, "SequenceClassifier", tmp_path / "base")
    add_ia3(ours)
    drawn(ours)
    save_adapter(ours, tmp_path / "adapter", tmp_path / "base")
    base = their_class(family, "SequenceClassifier").from_pretrained(tmp_path / "base")
    theirs = peft.PeftModel.from_pretrained(base, tmp_path / "adapter").double().eval()
    assert_close(ours.double()(**inputs(family)), theirs(**inputs(family)).logits, 1e-10)


@CONFIGS
def test_merged_scales_are_the_same_and_unmerged_the_very_model(config: Any) -> None:
    model = randomise(SequenceClassifier(config)).double()
    add_ia3(model)
    before, state = drawn(model)(**BATCH), copy.deepcopy(model.state_dict())
    unmerge = merge_added(model)
    assert not added_of(model)
    assert_close(model(**BATCH), before, 1e-10)
    with use_backend("plain"):
        assert_close(model(**BATCH), before, 1e-10)
    unmerge()
    assert model(**BATCH).equal(before)
    assert all(tensor.equal(state[name]) for name, tensor in model.state_dict().items())


@pytest.mark.parametrize("twice", [False, True])
@CONFIGS
def test_adapters_are_their_formula(config: Any, twice: bool) -> None:
    """Outputs and gradients of blocks whose last layers are replaced by a sum written out."""
    ours = randomise(SequenceClassifier(config)).double()
    theirs = copy.deepcopy(ours)
    add_adapters(ours, 5, twice)
    drawn(ours)
    weights = {n: p.detach().clone().requires_grad_() for n, p in added_of(ours).items()}

    def written_out(place: str) -> Any:
        def after(_layer: nn.Module, _inputs: Any, y: torch.Tensor) -> torch.Tensor:
            down, up = (
                (weights[f"{place}.{name}.weight"], weights[f"{place}.{name}.bias"])
                for name in ("down", "up")
            )
            return y + torch.nn.functional.gelu(y @ down[0].T + down[1]) @ up[0].T + up[1]

        return after

    for number, block in enumerate(theirs.blocks):
        path = f"encoder.blocks.{number}"
        block.feed_forward.down.register_forward_hook(written_out(f"{path}.feed_forward.adapter"))
        if twice:
            block.attention.output.register_forward_hook(written_out(f"{path}.attention.adapter"))
    logits, expected = ours(**BATCH), theirs(**BATCH)
    assert_close(logits, expected, 1e-10)
    logits.square().sum().backward()
    expected.square().sum().backward()
    assert len(weights) == 4 * len(theirs.blocks) * (2 if twice else 1)
    for name, parameter in added_of(ours).items():
        assert parameter.grad.abs().max() > 0
        assert_close(parameter.grad, weights[name].grad, 1e-8)


@EACH
@CONFIGS
def test_prepacked_and_rounded_they_are_kept(config: Any, add: Any) -> None:
    model = randomise(SequenceClassifier(config))
    add(model)
    before = drawn(model)(**BATCH)
    assert_close(prepack_weights(copy.deepcopy(model))(**BATCH), before, 1e-4)
    assert_close(quantize_int8(copy.deepcopy(model))(**BATCH), before, 0.3)


@EACH
@pytest.mark.parametrize("head", ["SequenceClassifier", "TokenClassifier", "Encoder", "MaskedLM"])
@FAMILY
def test_a_folder_holds_them(family: str, head: str, add: Any, tmp_path: Path) -> None:
    _, ours = pair(family, head, tmp_path / "base")
    add(ours)
    save_adapter(drawn(ours), tmp_path / "adapter", tmp_path / "base")
    again = OURS[head].from_pretrained(tmp_path / "adapter", add=add_tensors)
    state = again.state_dict()
    assert state.keys() == ours.state_dict().keys() and trained(again) == trained(ours)
    assert all(tensor.equal(state[name]) for name, tensor in ours.state_dict().items())
    save_adapter(again, tmp_path / "again", tmp_path / "base")
    for name in ("adapter_config.json", "adapter_model.safetensors", "tuning.json"):
        saved = [(tmp_path / folder / name).read_bytes() for folder in ("adapter", "again")]
        assert saved[0] == saved[1]


def spoil(kind: str, adapter: Path) -> None:
    path = adapter / "adapter_model.safetensors"
    tensors = load_file(path)
    first = next(name for name in tensors if "blocks" in name or "ia3_l" in name)
    if kind == "lost":
        del tensors[first]
    elif kind == "shape":
        tensors[first] = torch.zeros(3, 7)
    elif kind == "not finite":
        tensors[first].fill_(torch.nan)
    else:
        tensors[first.replace("0", "7")] = torch.zeros(3)
    save_file(tensors, path)


@pytest.mark.parametrize(
    ("add", "kind", "message"),
    [
        (add_ia3, "shape", r"the shape of .*ia3_l does not fit"),
        (add_ia3, "not finite", "NaN"),
        (add_ia3, "other", r"unexpected tensors: .*ia3_l"),
        (add_adapters, "lost", r"missing tensors: .*adapter\.down"),
        (add_adapters, "shape", r"the shape of .*adapter\.down.* does not fit"),
        (add_adapters, "not finite", "NaN"),
        (add_adapters, "other", r"unexpected tensors: .*7.*adapter\.down"),
    ],
)
def test_a_folder_that_does_not_fit_is_refused(
    add: Any, kind: str, message: str, tmp_path: Path
) -> None:
    model = randomise(SequenceClassifier(bert()))
    model.save_pretrained(tmp_path / "base")
    add(model)
    save_adapter(model, tmp_path / "adapter", tmp_path / "base")
    spoil(kind, tmp_path / "adapter")
    with pytest.raises(UserError, match=message):
        SequenceClassifier.from_pretrained(tmp_path / "adapter", add=add_tensors)


def test_a_size_that_is_none_is_refused(tmp_path: Path) -> None:
    model = TokenClassifier(bert())
    model.save_pretrained(tmp_path / "base")
    with pytest.raises(UserError, match="size must be at least 1, not 0"):
        add_adapters(model, 0)
    add_adapters(model, 4)
    with pytest.raises(UserError, match="a Bottleneck cannot be merged"):
        merge_added(model)
    save_adapter(model, tmp_path / "adapter", tmp_path / "base")
    path = tmp_path / "adapter" / "adapter_config.json"
    write_json(path, {**read_json(path), "size": "four"})
    with pytest.raises(UserError, match="size"):
        TokenClassifier.from_pretrained(tmp_path / "adapter", add=add_tensors)


def test_adapters_are_not_mixed_in_a_batch() -> None:
    model = SequenceClassifier(bert())
    add_adapters(model, 4)
    with pytest.raises(UserError, match="a Bottleneck cannot be mixed"):
        mixed({"one": model}, ["one"] * 3, **BATCH)


def test_scales_are_mixed_in_a_batch() -> None:
    base = randomise(SequenceClassifier(bert()))
    models = {name: copy.deepcopy(base) for name in ("one", "two")}
    for seed, model in enumerate(models.values()):
        add_ia3(model)
        drawn(model.eval(), seed)
    found = mixed(models, ["one", "two", "one"], **BATCH)
    assert_close(found["one"], models["one"](**BATCH)[[0, 2]], 1e-5)
    assert_close(found["two"], models["two"](**BATCH)[[1]], 1e-5)


def test_a_second_method_is_refused() -> None:
    model = Encoder(bert())
    add_ia3(model)
    for add, kind in ((add_ia3, "ScaledLinear"), (add_lora, "ScaledLinear")):
        with pytest.raises(UserError, match=f"is a {kind} already"):
            add(model)
    with pytest.raises(UserError, match="a ScaledLinear already"):
        add_adapters(model)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"adapters": -1}, "adapters must be at least 0"),
        ({"adapters_twice": True}, "adapters_twice adds to adapters"),
        ({"ia3": True, "adapters": 8}, "ia3 and adapters each choose what is trained"),
        ({"ia3": True, "lora": 8}, "lora and ia3 each choose"),
    ],
)
def test_senseless_options_are_refused(options: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        TuningOptions(**options)


@pytest.mark.parametrize("options", [{"ia3": True}, {"adapters": 8}])
def test_random_weights_are_refused(options: Any, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="keeps pretrained weights"):
        FinetuneConfig(tmp_path, "t", tmp_path, from_scratch=True, tuning=TuningOptions(**options))

"""Prompt tuning: equal to peft on the tokens of the texts, kept in every form, saved and opened."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from plainformer.base import UserError
from plainformer.encoder import Encoder, SequenceClassifier, use_backend
from plainformer.encoder.embedding_offset import embedding_offset
from plainformer.encoder.packing import PaddedSequences
from plainformer.finetune import Embedder, FinetuneConfig, Predictor, TuningOptions, finetune
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.robust import fgm
from plainformer.finetune.task_objective import task_objective
from plainformer.finetune.tuning import (
    add_lora,
    add_soft_prompt,
    add_tensors,
    merge_added,
    save_adapter,
)
from plainformer.training import LoopConfig
from tests.encoder.families import OURS, inputs, pair, rotate_without_rounding
from tests.encoder.tools import assert_close, assert_relative, bert, modern, padded, randomise
from tests.finetune import gradients
from tests.finetune.test_lora import added_of, drawn, trained
from tests.finetune.test_robust_tasks import TASKS, ready

peft = pytest.importorskip("peft")

LENGTH = 3
BATCH = padded([7, 3, 12])
CONFIGS = pytest.mark.parametrize(
    "config",
    [
        bert(),
        bert(share_layers=True, embedding_size=16),
        bert(positions="sinusoidal"),
        bert(positions="alibi"),
        bert(relative_bias=True),
        modern(),
    ],
)


@pytest.mark.parametrize("family", ["bert", "roberta", "albert", "mpnet", "modernbert"])
def test_outputs_and_gradients_are_those_of_peft(
    family: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rotate_without_rounding(monkeypatch)
    theirs, ours = pair(family, "TokenClassifier", tmp_path)
    add_soft_prompt(ours.double(), LENGTH)
    settings = peft.PromptTuningConfig(
        task_type="TOKEN_CLS", num_virtual_tokens=LENGTH, token_dim=ours.config.token_size
    )
    theirs = peft.get_peft_model(theirs, settings).double().eval()
    vectors = theirs.prompt_encoder["default"].embedding.weight
    with torch.no_grad():
        vectors.copy_(ours.base.soft_prompt.vectors)
    batch = inputs(family)
    mask = batch["attention_mask"].bool()
    mine, other = ours(**batch), theirs(**batch).logits[:, LENGTH:]
    assert_close(mine[mask], other[mask], 1e-10)
    for logits in (mine, other):
        logits[mask].square().sum().backward()
    assert_relative(ours.base.soft_prompt.vectors.grad, vectors.grad, 1e-8)


@CONFIGS
def test_a_text_is_what_follows_the_vectors_as_tokens_would(config: Any) -> None:
    """Vectors of the table are a text's own tokens; positions, windows and distances follow."""
    model = randomise(Encoder(config)).double()
    ids = torch.randint(4, 61, (1, LENGTH + 9), generator=torch.Generator().manual_seed(0))
    whole = model(ids, output_hidden_states=True, output_attentions=True)
    add_soft_prompt(model, LENGTH)
    with torch.no_grad():
        model.soft_prompt.vectors.copy_(model.embeddings.tokens(ids[0, :LENGTH]))
    text = model(ids[:, LENGTH:], output_hidden_states=True, output_attentions=True)
    for mine, other in zip(text.hidden_states, whole.hidden_states, strict=True):
        assert_close(mine, other[:, LENGTH:], 1e-12)
    for mine, other in zip(text.attentions, whole.attentions, strict=True):
        assert_close(mine, other[..., LENGTH:, LENGTH:], 1e-12)


@CONFIGS
def test_all_forms_agree(config: Any) -> None:
    model = randomise(SequenceClassifier(config)).double()
    add_soft_prompt(model, LENGTH)
    expected = model(**BATCH)
    with use_backend("plain"):
        assert_close(model(**BATCH), expected, 1e-10)
    ids, mask, types = BATCH["input_ids"], BATCH["attention_mask"].bool(), BATCH["token_type_ids"]
    unpacked = model(ids, token_type_ids=types, sequences=PaddedSequences(mask))
    assert_close(unpacked, expected, 1e-10)
    for row, length in enumerate([7, 3, 12]):
        alone = model(ids[row : row + 1, :length], token_type_ids=types[row : row + 1, :length])
        assert_close(alone[0], expected[row], 1e-10)
    head = {name for name, _ in model.named_parameters() if not name.startswith("encoder.")}
    assert trained(model) == head | set(added_of(model)) == head | {"encoder.soft_prompt.vectors"}


def test_the_head_reads_the_first_token_of_the_text() -> None:
    model = randomise(SequenceClassifier(bert()))
    add_soft_prompt(model, LENGTH)
    hidden = model.base(**BATCH).last_hidden_state[:, 0]
    pooled = torch.tanh(model.base.pooler.dense(hidden))
    assert_close(model(**BATCH), model.classifier(pooled), 1e-6)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_trains_it_and_an_adversary_moves_texts_alone(name: str) -> None:
    """The loss of a batch and the gradient of the vectors are the sums of those of its items."""
    task, model, items = ready(name, 0.0)
    add_soft_prompt(model, LENGTH)
    objective = fgm(task_objective(task), 0.3)
    (vectors,) = (name for name, _ in model.named_parameters() if "soft_prompt" in name)
    total, found = gradients.gradients(model, objective, Batch.of(items))
    alone = [gradients.gradients(model, objective, Batch.of([item])) for item in items]
    assert total == pytest.approx(sum(loss for loss, _ in alone), rel=1e-5)
    expected = sum(gradient[vectors] for _, gradient in alone)
    torch.testing.assert_close(found[vectors], expected, rtol=1e-4, atol=1e-4)
    assert found[vectors].abs().max() > 0 and "encoder.embeddings.tokens.weight" not in found


def test_an_offset_moves_the_text_and_not_the_vectors() -> None:
    model = randomise(SequenceClassifier(bert())).double()
    add_soft_prompt(model, LENGTH)
    ids = BATCH["input_ids"][2:]
    delta = torch.randn(12, 32, dtype=torch.float64)
    with embedding_offset(model, delta):
        moved = model.base(ids, output_hidden_states=True).hidden_states[0]
    before = model.base(ids, output_hidden_states=True).hidden_states[0]
    assert_close(moved[0], before[0] + delta, 1e-12)


@pytest.mark.parametrize("family", ["bert", "modernbert"])
@pytest.mark.parametrize("head", ["SequenceClassifier", "Encoder"])
def test_a_folder_holds_it(family: str, head: str, tmp_path: Path) -> None:
    _, ours = pair(family, head, tmp_path / "base")
    add_soft_prompt(ours, LENGTH)
    save_adapter(drawn(ours), tmp_path / "adapter", tmp_path / "base")
    again = OURS[head].from_pretrained(tmp_path / "adapter", add=add_tensors)
    state = again.state_dict()
    assert state.keys() == ours.state_dict().keys() and trained(again) == trained(ours)
    assert all(tensor.equal(state[name]) for name, tensor in ours.state_dict().items())


def test_a_text_is_cut_where_positions_end(models, files, tmp_path) -> None:
    """By default to what the vectors leave of them; where the user asks for more, refused."""
    config = FinetuneConfig(
        models["bert"],
        files("train"),
        tmp_path / "run",
        epochs=0,
        tuning=TuningOptions(soft_prompt=20),
        training=LoopConfig(device="cpu"),
    )
    finetune(config, quiet=True)
    places = Encoder.from_pretrained(models["bert"]).config.max_position_embeddings - 20
    assert Predictor.load(tmp_path / "run", "cpu").task.max_length == places < 64
    assert Embedder.load(tmp_path / "run", device="cpu").max_length == places
    with pytest.raises(
        UserError, match="soft_prompt 62 leaves no room: the model has 64 positions"
    ):
        finetune(replace(config, tuning=TuningOptions(soft_prompt=62)), quiet=True)
    longer = replace(config, out=tmp_path / "other", max_length=places + 1)
    with pytest.raises(UserError, match="after a soft prompt of 20, is more than the 64 positions"):
        finetune(longer, quiet=True)


def test_what_does_not_go_is_refused() -> None:
    model = SequenceClassifier(bert())
    for length in (0, 40):
        with pytest.raises(UserError, match="length must be from 1 to 39"):
            add_soft_prompt(model, length)
    add_soft_prompt(model, 30)
    with pytest.raises(UserError, match="has 12 tokens, but the model has 10 positions"):
        model(**BATCH)
    with pytest.raises(UserError, match="a SoftPrompt cannot be merged"):
        merge_added(model)
    for add in (add_soft_prompt, add_lora):
        with pytest.raises(UserError, match="SoftPrompt already"):
            add(model)
    with pytest.raises(UserError, match="prefix and soft_prompt each choose"):
        TuningOptions(prefix=4, soft_prompt=4)

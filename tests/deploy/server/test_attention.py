"""Attention and masked predictions over HTTP are the model's own."""

import numpy as np
import pytest
import torch

from plainformer.encoder import Encoder, MaskedLM
from plainformer.finetune import Predictor
from plainformer.pretrain import fill_mask
from plainformer.tokenizer import load_tokenizer
from tests.deploy.server.conftest import WEB

TEXT = "the red hen pecks"


def between_words(weights, encoding):
    """The sum over the pieces looked at, the mean over those that look, one by one."""
    names, words = list(zip(encoding.sequence_ids, encoding.word_ids, strict=True)), []
    for position, name in enumerate(names):
        if name[0] is None or position == 0 or name != names[position - 1]:
            words.append([])
        words[-1].append(position)
    return [
        [[sum(float(head[i, j]) for i in u for j in v) / len(u) for v in words] for u in words]
        for head in weights
    ]


@pytest.mark.parametrize(("name", "given"), [("entities", TEXT), ("labels", ["a hen", TEXT])])
def test_attention_is_that_of_the_model(post, runs, name, given):
    tokenizer, encoder = load_tokenizer(runs[name]), Predictor.load(runs[name]).model.base
    pair = (given, None) if isinstance(given, str) else given
    encoding = tokenizer.encode(*pair, max_length=16)
    assert len({*encoding.word_ids}) < len(encoding)  # some words have several pieces
    with torch.no_grad():
        output = encoder(
            torch.tensor([encoding.ids]),
            token_type_ids=torch.tensor([encoding.type_ids]),
            output_attentions=True,
        )
    said = post("/attention", input=given, model=name, layer=1)
    (found,) = said["sequences"]
    wanted = between_words(output.attentions[1][0], encoding)
    assert np.allclose(found["weights"], wanted, atol=1e-4)
    assert np.allclose(np.sum(found["weights"], -1), 1, atol=2e-3)
    spelled = [word["text"] for word in found["words"]]
    assert spelled[:3] == ["[CLS]", *(TEXT if name == "entities" else "a hen").split()[:2]]
    assert [word["special"] for word in found["words"]].count(True) == (2 if pair[1] is None else 3)


def test_attention_of_each_option_and_of_an_encoder_without_a_task(post, models):
    given = {"text": "the hen", "options": ["eats", "pecks corn", "sips"]}
    assert len(post("/attention", input=given, model="choice")["sequences"]) == 3
    encoder, tokenizer = Encoder.from_pretrained(models["bert"]), load_tokenizer(models["bert"])
    with torch.no_grad():
        output = encoder(**tokenizer.batch([TEXT]), output_attentions=True)
    (found,) = post("/attention", input=TEXT, model="bert")["sequences"]
    wanted = between_words(output.attentions[0][0], tokenizer.encode(TEXT))
    assert np.allclose(found["weights"], wanted, atol=1e-4)


@pytest.mark.parametrize("name", ["words", "bert"])
def test_what_is_expected_at_a_mask(post, runs, models, name):
    folder = {**runs, **models}[name]
    text = "the red [MASK] pecks the [MASK] corn ."
    guesses = fill_mask(MaskedLM.from_pretrained(folder), load_tokenizer(folder), text, 3)
    said = post("/fill", text=text, top=3, model=name)["masks"]
    assert [[each["token"] for each in some] for some in said] == [
        [guess.token for guess in some] for some in guesses
    ]
    for some, wanted in zip(said, guesses, strict=True):
        chances = [guess.probability for guess in wanted]
        assert [each["probability"] for each in some] == pytest.approx(chances, abs=2e-5)


def test_what_cannot_be_looked_at(address, runs):
    many = "hen " * 200
    for route, body, status, reason in [
        ("/attention", {"input": TEXT, "layer": 2}, 422, "the model has 2 layers"),
        ("/attention", {"input": TEXT, "layer": -1}, 422, "layer: "),
        ("/attention", {"input": many, "model": "entities"}, 413, "more than 128"),
        ("/attention", {"input": ["a", "b"], "model": "bert"}, 422, "reads single texts"),
        ("/attention", {"input": {"id": 1}}, 422, "no column 'text'"),
        ("/attention", {"inputs": TEXT}, 422, "the field input is missing"),
        ("/fill", {"text": "a [MASK]", "model": "labels"}, 422, "labels has no head for masked"),
        ("/fill", {"text": TEXT, "model": "bert"}, 422, "there is no [MASK]"),
        ("/fill", {"text": "[MASK] " * 17, "model": "bert"}, 413, "17 masks, more than 16"),
        ("/fill", {"text": "hen " * 600, "model": "bert"}, 413, "more than 512"),
        ("/fill", {"text": "a [MASK]", "top": 0, "model": "bert"}, 422, "top: "),
    ]:
        said = WEB.post(address + route, json=body)
        assert said.status_code == status and reason in said.json()["error"]["message"], said.text
    paths = WEB.get(f"{address}/openapi.json").json()["paths"]
    assert {"/attention", "/fill"} <= paths.keys() and "/" not in paths
    of = {one["name"]: one for one in WEB.get(f"{address}/info").json()["models"]}
    assert of["bert"]["mask"] == of["words"]["mask"] == "[MASK]" and of["labels"]["mask"] is None
    assert (of["bert"]["layers"], of["bert"]["heads"]) == (1, 2)

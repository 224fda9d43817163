"""Attention of each head: against `transformers` for every family, and its summary by hand."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from plainformer.__main__ import main
from plainformer.base import UserError
from plainformer.encoder import SequenceClassifier
from plainformer.explain.inside import attention_of, head_statistics, open_model
from plainformer.explain.inside.attention import STATISTICS, SequenceAttention
from plainformer.explain.inside.attention_page import MOST_NUMBERS, refuse_large_page
from plainformer.finetune import Predictor
from tests.encoder.families import CONFIGS, pair
from tests.explain.test_attribution import FIRST, SECOND, SHAPE, TOKENIZER, tasks, variants


@pytest.mark.parametrize("family", CONFIGS)
def test_weights_are_those_of_transformers(family: str, tmp_path: Path) -> None:
    """Of a folder as it was pretrained, without a head and without a task."""
    theirs, _ = pair(family, "Encoder", tmp_path, attention="eager")
    TOKENIZER.save(tmp_path)
    found = attention_of(open_model(tmp_path, "cpu"), [FIRST, "hen"])
    for one, text in zip(found, [FIRST, "hen"], strict=True):
        with torch.no_grad():
            ids = torch.tensor([TOKENIZER.encode(text).ids])
            output = theirs(input_ids=ids, output_attentions=True)
        np.testing.assert_allclose(one.weights, torch.cat(output.attentions), atol=1e-6)
        assert one.tokens == tuple(map(TOKENIZER.token, ids[0].tolist()))


@pytest.mark.parametrize(
    ("task", "sequences"),
    [("classification", 1), ("multiple-choice", 3), ("tagging", 1), ("sentence-embedding", 2)],
)
def test_every_sequence_of_an_input_is_shown(task: str, sequences: int) -> None:
    _, explainer, given = variants(task)
    inputs = {"classification": (FIRST, SECOND), "tagging": "a red hen"}.get(task, given)
    found = attention_of(explainer.predictor, [inputs])
    assert len(found) >= sequences
    for one in found:
        heads = one.weights.shape[:2]
        np.testing.assert_allclose(one.weights.sum(-1), np.ones((*heads, len(one.tokens))), 1e-5)
        assert sorted(i for word in one.words for i in word) == list(range(len(one.tokens)))
        assert one.special[0] and not one.special[1]


def test_statistics_by_hand() -> None:
    """Two heads on [CLS] re ##d [SEP]: one looks at all alike, one at the token before."""
    alike, before = torch.full((4, 4), 0.25), torch.eye(4).roll(-1, 1)
    before[0], before[3] = torch.eye(4)[0], torch.eye(4)[2]
    before[1:3] = torch.eye(4)[:2]
    one = SequenceAttention(
        tokens=("[CLS]", "re", "##d", "[SEP]"),
        words=((0,), (1, 2), (3,)),
        spellings=("[CLS]", "red", "[SEP]"),
        special=(True, False, False, True),
        weights=torch.stack([alike, before])[None],
    )
    found = dict(zip(STATISTICS, head_statistics([one])[:, 0].tolist(), strict=True))
    assert found["entropy"] == pytest.approx([np.log(4), 0])
    assert found["first"] == pytest.approx([1 / 4, 2 / 4])
    assert found["separators"] == pytest.approx([1 / 4, 0])
    assert found["previous"] == pytest.approx([3 / 16, 3 / 4])
    assert found["next"] == pytest.approx([3 / 16, 0])
    assert found["same word"] == pytest.approx([6 / 16, 2 / 4])
    twice = head_statistics([one, one])
    torch.testing.assert_close(twice, head_statistics([one]))


def test_long_texts_are_cut_by_the_task_and_refused_by_the_view() -> None:
    task, *_ = tasks()["regression"]
    model = SequenceClassifier(replace(SHAPE, max_position_embeddings=200), ("score",)).eval()
    long = " ".join([FIRST] * 40)
    (found,) = attention_of(Predictor(task, model, TOKENIZER), [long])
    assert found.is_cut and len(found.tokens) == task.max_length
    with pytest.raises(UserError, match="input:1: 200 tokens, more than 128"):
        attention_of(Predictor(replace(task, max_length=200), model, TOKENIZER), [long])


def test_refusals(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _, explainer, _ = variants("regression")
    for given, fault in [
        ([{"id": 1}], "no column 'text'"),
        ([FIRST, " "], "input:2: the text is empty"),
    ]:
        with pytest.raises(UserError, match=fault):
            attention_of(explainer.predictor, given)
    with pytest.raises(UserError, match="there is no text"):
        head_statistics(attention_of(explainer.predictor, []))
    found = attention_of(explainer.predictor, [FIRST])
    with pytest.raises(UserError, match="fewer texts"):
        refuse_large_page(found * (1 + MOST_NUMBERS // found[0].weights.numel()))
    for line, fault in [
        (["attention", "nowhere", "--text", "a"], "nowhere"),
        (["attention", "nowhere", "--limit", "0"], "limit"),
        (["atention", "nowhere"], "did you mean attention"),
        (["nowhere"], "there is no view"),
    ]:
        assert main(["inspect", *line]) == 2
        said = capsys.readouterr().err
        assert fault in said and "Traceback" not in said

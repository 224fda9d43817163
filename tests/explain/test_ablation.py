"""Head ablation: as pruning, as the metric by hand, on every task, and with planted heads."""

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plainformer.__main__ import main
from plainformer.base import UserError, write_text
from plainformer.deploy.shrink.prune import keep_heads
from plainformer.encoder import Encoder, SequenceClassifier, quantize_int8
from plainformer.encoder.weights import FAMILIES
from plainformer.explain.inside import ablate_heads
from plainformer.explain.inside.ablation import ablated
from plainformer.explain.inside.ablation_figure import ablation_figure
from plainformer.explain.intervals import bootstrap
from plainformer.finetune import Predictor
from plainformer.finetune.data.batch import Batch
from plainformer.finetune.data.rows import as_rows
from plainformer.finetune.prediction.predictor import encode_all, measure
from plainformer.finetune.task_file import save_task
from plainformer.finetune.tasks.classification import Classification
from plainformer.finetune.tuning.soft_prompt import add_soft_prompt
from tests.encoder.families import CONFIGS
from tests.encoder.tools import bert, modern, padded, randomise
from tests.explain.test_attribution import LABELS, TOKENIZER, tasks
from tests.pretrain import tiny


def states(model: Any) -> torch.Tensor:
    with torch.no_grad():
        return model(**padded([5, 9, 3])).last_hidden_state


@pytest.mark.parametrize("config", [bert(), modern()], ids=["bert", "modern"])
def test_a_head_set_to_zero_is_a_head_removed(config: Any) -> None:
    model = randomise(Encoder(config)).double().eval()
    before = states(model)
    for number in (0, len(model.blocks) - 1):
        for head in (0, 2):
            pruned = copy.deepcopy(model)
            kept = torch.tensor([h for h in range(4) if h != head])
            keep_heads(pruned.blocks[number].attention, kept, config.head_size)
            with ablated(model.blocks[number].attention, head):
                without = states(model)
            torch.testing.assert_close(without, states(pruned), rtol=0, atol=1e-12)
            assert (without - before).abs().max() > 1e-3
    assert torch.equal(states(model), before)


LABELLED: dict[str, dict[str, Any]] = {
    "classification": {"label": "a"},
    "prompt": {"label": "b"},
    "multi-label": {"labels": ["a", "c"]},
    "regression": {"score": 1.5},
    "relation": {"head": [0, 3], "tail": [4, 9], "label": "a"},
    "multiple-choice": {"options": ["the cat", "the", "a hen eats"], "label": 1},
    "tagging": {"tags": ["B-x", "I-x", *["O"] * 10]},
    "question-answering": {
        "question": "the hen ?",
        "answers": [{"text": "the", "answer_start": 0}],
    },
    "sentence-embedding": {"pair": "the hen"},
}


def labelled(name: str, task: Any, count: int = 7) -> list[Any]:
    rows = []
    for number, text in enumerate(tiny.sentences(count, seed=3)):
        row = {"text": text, **LABELLED[name]}
        if name == "tagging":
            words = text.split()
            row = {"words": words, "tags": LABELLED[name]["tags"][: len(words)]}
        if name == "question-answering":
            row = {"context": text, **LABELLED[name]}
        if name == "regression":
            row["score"] = number * 0.5
        if name == "sentence-embedding":
            row["pair"] = f"{text} {number}"
        rows.append(row)
    return [task.read(row) for row in as_rows(rows)]


@pytest.mark.parametrize("name", tasks())
def test_scores_are_those_of_the_metric(name: str) -> None:
    """On every task: of the whole model, and of one without a head."""
    torch.manual_seed(0)
    task, model, _ = tasks()[name]
    randomise(model).eval()
    examples = labelled(name, task)
    found = ablate_heads(Predictor(task, model, TOKENIZER), examples, samples=50, quiet=True)
    pairs = list(encode_all(task, TOKENIZER, examples))
    metric, score = next(iter(measure(task, model, pairs).scores().items()))
    assert (found.metric, found.examples) == (metric, 7)
    assert found.score == pytest.approx(score, abs=1e-6, nan_ok=True)
    with ablated(model.base.blocks[0].attention, 1):
        without = next(iter(measure(task, model, pairs).scores().values()))
    assert found.drop[0, 1] == pytest.approx(score - without, abs=1e-6, nan_ok=True)
    assert np.isfinite(found.importance).all() and found.importance.max() > 0
    assert not any(parameter.requires_grad for parameter in model.parameters())


@pytest.mark.parametrize("family", ["bert", "albert", "mpnet", "modernbert"])
def test_the_planted_head_is_the_one_that_counts(family: str) -> None:
    """Norm after and before, shared layers, relative bias: all other heads give nothing."""
    torch.manual_seed(1)
    config = replace(FAMILIES[family].read_config(CONFIGS[family]), vocab_size=TOKENIZER.vocab_size)
    model = randomise(SequenceClassifier(config, LABELS)).eval()
    size = config.head_size
    for number, block in enumerate(model.base.blocks):
        planted = block.attention.output.weight.data[:, size : 2 * size].clone()
        block.attention.output.weight.data.zero_()
        if number == 0:
            block.attention.output.weight.data[:, size : 2 * size] = 20 * planted
    task = Classification(labels=LABELS, max_length=30)
    predictor = Predictor(task, model, TOKENIZER)
    texts = tiny.sentences(8, seed=5)
    said = [prediction.label for prediction in predictor(texts)]
    rows = [{"text": t, "label": s} for t, s in zip(texts, said, strict=True)]
    examples = [task.read(row) for row in as_rows(rows)]
    found = ablate_heads(predictor, examples, samples=50, quiet=True)
    assert found.score == 1.0
    others = np.ones(found.drop.shape, bool)
    others[0, 1] = False
    for values in (found.drop, found.low, found.high, found.importance):
        np.testing.assert_allclose(values[others], 0, atol=1e-6)
    np.testing.assert_allclose(found.loss_rise[others], 0, atol=1e-6)
    assert abs(found.loss_rise[0, 1]) > 1e-3 and found.importance[0, 1] > 1e-3
    with ablated(model.base.blocks[0].attention, 1):
        right = np.array([p.label for p in predictor(texts)]) == np.array(said)
    interval = bootstrap(lambda drawn: 1 - right[drawn].mean(), 8, samples=50)
    assert (found.low[0, 1], found.high[0, 1]) == pytest.approx(interval)


def test_refusals_of_ablation() -> None:
    task, model, _ = tasks()["classification"]
    predictor = Predictor(task, model, TOKENIZER)
    with pytest.raises(UserError, match="no example"):
        ablate_heads(predictor, [])
    quantize_int8(model)
    with pytest.raises(UserError, match="int8"):
        ablate_heads(predictor, labelled("classification", task))


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    task, model, _ = tasks()["classification"]
    run, data = tmp_path / "run", tmp_path / "data.tsv"
    randomise(model).save_pretrained(run)
    TOKENIZER.save(run)
    save_task(task, run)
    lines = [f"{text}\t{LABELS[n % 3]}\n" for n, text in enumerate(tiny.sentences(9))]
    write_text(data, "text\tlabel\n" + "".join(lines))
    line = ["inspect", "heads", str(run), "--data", str(data), "--limit", "4"]
    assert main([*line, "--out", str(tmp_path / "heads.png")]) == 0
    said = capsys.readouterr().out
    assert "drop of accuracy" in said and "on 3 examples with all heads" in said
    assert (tmp_path / "heads.png").read_bytes().startswith(b"\x89PNG")
    page = tmp_path / "attention.html"
    line = ["inspect", "attention", str(run), "--text", "a hen", "--out", str(page)]
    assert main(line) == 0 and page.exists()
    assert "1.2" in capsys.readouterr().out
    assert main(["inspect", "heads", str(run)]) == 2
    assert "missing --data (see plainformer inspect heads --help)" in capsys.readouterr().err
    for rest, fault in [
        (["--out", "a.html"], "must end in .png"),
        (["--text", "a"], "there is no option --text of heads, but of attention"),
        (["--limit", "0"], "limit"),
        (["--data", str(tmp_path / "none.tsv")], "none.tsv"),
    ]:
        assert main(["inspect", "heads", str(run), "--data", str(data), *rest]) == 2
        assert fault in capsys.readouterr().err


def test_order_and_figure() -> None:
    """By the drop, then by the loss; a dot marks an interval without 0."""
    task, model, _ = tasks()["classification"]
    found = ablate_heads(
        Predictor(task, randomise(model).eval(), TOKENIZER),
        labelled("classification", task),
        samples=50,
        quiet=True,
    )
    low = np.zeros_like(found.drop)
    low[0, 1] = 0.1
    drop, loss = np.array([[0.1, 0.1], [0.2, -0.1]]), np.array([[0.3, 0.4], [0.0, 0.5]])
    every = {"drop": drop, "low": drop, "high": drop, "loss_rise": loss, "importance": loss}
    assert replace(found, **every).order == [(1, 0), (0, 1), (0, 0), (1, 1)]
    found = replace(found, low=low, high=low + 0.1)
    axes = ablation_figure(found).axes[0]
    assert axes.collections[0].get_offsets().tolist() == [[2, 1]]


def test_a_soft_prompt_attends_too() -> None:
    """Importance is the derivative by a gate at the head, of the prompt's vectors as well."""
    task, model, _ = tasks()["classification"]
    add_soft_prompt(randomise(model), length=5)
    (example,) = labelled("classification", task, 1)
    predictor = Predictor(task, model.eval(), TOKENIZER)
    found = ablate_heads(predictor, [example], samples=5, quiet=True)
    gate = torch.ones(2, requires_grad=True)
    output = model.base.blocks[0].attention.output
    output.register_forward_pre_hook(
        lambda _, x: ((x[0].unflatten(-1, (2, -1)) * gate[:, None]).flatten(-2),)
    )
    batch = Batch.of([item for _, item in encode_all(task, TOKENIZER, [example])])
    task.loss(task.outputs(model, batch), batch)[0].backward()
    assert gate.grad is not None
    np.testing.assert_allclose(found.importance[0], gate.grad.abs(), rtol=1e-4, atol=1e-6)

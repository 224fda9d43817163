"""Adapters on one base share its memory and their batches, and answer as each alone."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from plainformer.deploy.server import Limits, load_models
from plainformer.deploy.server import adapters as module
from plainformer.encoder import Encoder, SequenceClassifier, TokenClassifier
from plainformer.finetune import Predictor
from plainformer.finetune.task_file import save_task
from plainformer.finetune.tasks import TASKS
from plainformer.finetune.tuning import add_dora, add_lora, add_prefix, save_adapter
from plainformer.tokenizer import train_tokenizer
from tests.deploy.server.conftest import WEB, served
from tests.deploy.server.test_routes import close, printed
from tests.encoder.tools import randomise
from tests.finetune.test_lora import drawn
from tests.pretrain import tiny

TEXTS = [*tiny.sentences(9, 3), "", "hen " * 30]


@pytest.fixture(scope="module")
def adapters(tmp_path_factory) -> dict[str, Path]:
    """Adapters of several methods, tasks and labels on one base, and one with a prefix."""
    root = tmp_path_factory.mktemp("adapters")
    tokenizer = train_tokenizer(tiny.sentences(400), kind="wordpiece", vocab_size=70)
    randomise(Encoder(tiny.shape("modern", tokenizer), pooler=False)).save_pretrained(root / "base")
    tokenizer.save(root / "base")
    tags = ("O", "B-animal", "I-animal")
    made: dict[str, tuple[Any, Any, str, dict[str, Any]]] = {
        "labels": (SequenceClassifier, add_lora, "classification", {"labels": ("a", "b")}),
        "topics": (SequenceClassifier, add_dora, "multi-label", {"labels": ("a", "b", "c")}),
        "tags": (TokenClassifier, add_lora, "tagging", {"labels": tags, "decoding": "legal"}),
        "prefixed": (SequenceClassifier, add_prefix, "classification", {"labels": ("x", "y")}),
    }
    for number, (name, (kind, add, task, fields)) in enumerate(made.items()):
        torch.manual_seed(number)
        model = kind.from_pretrained(root / "base", labels=list(fields["labels"]))
        given = {"length": 3} if add is add_prefix else {"targets": ("all",), "rank": 2 + number}
        add(model, **given)
        save_adapter(drawn(model, number), root / name, root / "base")
        save_task(TASKS[task](**fields, max_length=24), root / name)
    return {name: root / name for name in made}


def numbers(*models: torch.nn.Module) -> int:
    """Count the numbers that models hold together, prepacked ones too."""
    held = [m.__dict__.get("weight") for model in models for m in model.modules()]
    own = [t for model in models for t in (*model.parameters(), *model.buffers())]
    return sum({id(t): t.numel() for t in (*own, *held) if t is not None}.values())


def test_answers_of_a_mixed_batch_are_those_of_each_alone(adapters, monkeypatch):
    compute, sizes = module.compute_mixed, []

    def counted(parts: Any) -> Any:
        found = compute(parts)  # where this fails, the engine computes one by one
        sizes.append(len(found))
        return found

    monkeypatch.setattr(module, "compute_mixed", counted)
    alone = {name: printed(Predictor.load(folder), TEXTS) for name, folder in adapters.items()}
    models = load_models(list(adapters.values()), Limits(wait_ms=50))
    engines = {one.engine for one in models.running.values()}
    assert len(engines) == 1
    with served(models) as address, ThreadPoolExecutor(16) as pool:

        def ask(name: str) -> Any:
            said = WEB.post(f"{address}/predict", json={"inputs": TEXTS, "model": name})
            return name, said.json()["predictions"]

        for name, said in pool.map(ask, [*adapters] * 2):
            wanted = alone[name]
            if name == "tags":  # the server reads the long text in windows
                said, wanted = said[:-1], wanted[:-1]
            close(said, wanted)
        asyncio.run(models.reload())
        name, said = ask("topics")
        close(said, alone[name])
    assert 3 in sizes


def test_a_batch_of_several_adapters(adapters):
    loaded = module.load_adapters(adapters)
    items = [
        module.ItemOf(one, item)
        for start in range(3)
        for one in loaded.values()
        for item in one.read(TEXTS[start::3])[1]
    ]
    found = module.compute_items(items)
    for one in items:
        (alone,) = one.served.compute([one.item])
        close(as_json(found.pop(0)), as_json(alone))


def as_json(prediction: Any) -> Any:
    return json.loads(json.dumps(prediction.to_json()))


def test_the_base_is_in_memory_once(adapters):
    models = load_models(list(adapters.values()))
    bases = [running.served.model.base for running in models.running.values()]
    models.close()
    base = numbers(Encoder.from_pretrained(adapters["labels"].parent / "base"))
    added = [numbers(each) - base for each in bases]
    assert 0 < max(added) < base / 2 and numbers(*bases) == base + sum(added)


def test_an_adapter_that_was_damaged_leaves_all_as_they_are(adapters, tmp_path, capsys):
    folders = []
    for name in ("labels", "topics"):
        (tmp_path / name).mkdir()
        for file in adapters[name].iterdir():
            (tmp_path / name / file.name).write_bytes(file.read_bytes())
        folders.append(tmp_path / name)
    models = load_models(folders)
    before = dict(models.running)
    config = tmp_path / "topics" / "task.json"
    whole = json.loads(config.read_text())
    config.write_text("{")
    asyncio.run(models.reload())
    assert models.running == before
    config.write_text(json.dumps(whole))
    asyncio.run(models.reload())
    assert models.running.keys() == before.keys() and models.running != before
    assert "is reloaded" in capsys.readouterr().err
    models.close()
    before["labels"].engine.join(10)
    assert not any(t.is_alive() for t in before["labels"].engine._threads)

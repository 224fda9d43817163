"""What `push` sends to the hub opens again, and nothing else of a run is sent."""

import importlib
import io
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from plainformer.__main__ import main
from plainformer.base import write_json
from plainformer.deploy.card import CARD
from plainformer.encoder import Encoder, SequenceClassifier
from plainformer.finetune import Predictor
from plainformer.finetune.task_file import save_task
from plainformer.finetune.tasks import TASKS
from plainformer.finetune.tuning import add_lora, save_adapter
from tests.deploy.hub_stand_in import TOKEN, Hub, hub_stand_in
from tests.pretrain import tiny

huggingface_hub = pytest.importorskip("huggingface_hub")
constants = importlib.import_module("huggingface_hub.constants")


@pytest.fixture
def hub(monkeypatch, tmp_path: Path) -> Iterator[Hub]:
    """A hub, which the library is told to use."""
    with hub_stand_in() as server:
        monkeypatch.setattr(constants, "ENDPOINT", server.address)
        download = f"{server.address}/{{repo_id}}/resolve/{{revision}}/{{filename}}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", download)
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield server


@pytest.fixture
def run(tokenizer, tmp_path: Path) -> Path:
    """The folder of a run: a model, and much else."""
    folder = tmp_path / "my run"
    labels = ("bird", "beast")
    SequenceClassifier(Encoder(tiny.shape("bert", tokenizer)), labels).save_pretrained(folder)
    tokenizer.save(folder)
    save_task(TASKS["classification"](max_length=16, labels=labels), folder)
    write_json(folder / "options.json", {"model": "/home/me/model", "train": "/home/me/t.csv"})
    for name in (
        ".plainformer",
        "log.jsonl",
        "train.csv",
        "curve.png",
        "copies.jsonl",
        "notes.txt",
    ):
        (folder / name).write_text("not for others")
    for name in ("checkpoints/step-1", "evaluation-test", ".cache", "tokens", "1_old"):
        (folder / name).mkdir(parents=True)
        (folder / name / "optimizer.safetensors").write_text("not for others")
        (folder / name / "metrics.json").write_text("{}")
    (folder / "checkpoints/step-1/model.safetensors").write_text("not for others")
    return folder


def push(*words: str | Path) -> int:
    """The exit code of the command."""
    return main(["push", *map(str, words)])


def test_what_arrived_opens_again(hub: Hub, run: Path, capsys) -> None:
    texts = ["the red hen eats the red fish .", "the blue fox"]
    expected = [p.to_json() for p in Predictor.load(run)(texts)]
    assert (
        push(run, "ada/labels", "--yes", "--private", "--license", "mit", "--language", "en") == 0
    )
    files = hub.files["ada/labels"]
    assert sorted(files) == [
        *("README.md", "config.json", "model.safetensors", "task.json", "tokenizer.json"),
        *("tokenizer_config.json", "vocab.txt"),
    ]
    assert not any(
        b"not for others" in content or b"/home/me" in content for content in files.values()
    )
    assert hub.private == {"ada/labels": True}
    shown = capsys.readouterr().out
    assert f"{(run / 'model.safetensors').stat().st_size / 1e6:.3f}" in shown
    assert f"{hub.address}/ada/labels" in shown and all(name in shown for name in files)
    assert [p.to_json() for p in Predictor.load("ada/labels")(texts)] == expected
    Encoder.from_pretrained("ada/labels")
    card = huggingface_hub.ModelCard.load("ada/labels")
    assert (card.data.license, card.data.language) == ("mit", ["en"])
    assert 'Predictor.load("ada/labels")' in card.text and "USER/NAME" not in card.text
    assert "USER/NAME" in (run / CARD).read_text()

    (run / CARD).write_text((run / CARD).read_text() + "by hand")  # a second time, with an edit
    assert push(run, "ada/labels", "--yes") == 0
    assert files[CARD].endswith(b"by hand") and b"license: mit" in files[CARD]
    assert push(run, "ada/labels", "--yes", "--license", "other") == 2
    assert "says license: mit already" in capsys.readouterr().err


def test_it_asks_first(hub: Hub, run: Path, monkeypatch, capsys) -> None:
    class Terminal(io.StringIO):
        def isatty(self) -> bool:
            return True

    for answer, count in (("n\n", 0), ("\n", 0), ("y\n", 1)):
        monkeypatch.setattr(sys, "stdin", Terminal(answer))
        assert push(run, "ada/labels") == 0
        assert len(hub.files) == count
        assert "ada/labels (public, new)" in capsys.readouterr().err
    monkeypatch.setattr(sys, "stdin", io.StringIO("y\n"))
    assert push(run, "ada/labels") == 2
    assert "--yes" in capsys.readouterr().err


def test_a_public_repository_is_not_taken_for_a_private_one(hub: Hub, run: Path, capsys) -> None:
    hub.files["ada/labels"], hub.private["ada/labels"] = {}, False
    assert push(run, "ada/labels", "--private", "--yes") == 2
    assert "public" in capsys.readouterr().err and not hub.files["ada/labels"]


@pytest.mark.parametrize(
    "end, status, told",
    [
        ("api/models/ada/labels", 401, "hf auth login"),
        ("create", 401, "hf auth login"),
        ("create", 403, "may not write"),
        ("preupload/main", 404, "check the name"),
        ("commit/main", 400, "as the test wishes"),
        ("batch", 403, "may not write"),
    ],
)
def test_what_the_hub_refuses(hub: Hub, run: Path, end, status, told, capsys) -> None:
    hub.refuse[end] = status
    assert push(run, "ada/labels", "--yes") == 2
    error = capsys.readouterr().err
    assert told in error.splitlines()[-1] and "Traceback" not in error
    assert not hub.files.get("ada/labels")


def test_what_is_refused_before_anything_is_sent(
    hub: Hub, run: Path, monkeypatch, tmp_path, capsys
) -> None:
    (tmp_path / "empty").mkdir()
    for words, told in (
        ([run, "labels"], "USER/NAME"),
        ([run, "a/b/c"], "USER/NAME"),
        ([run, "../x"], "USER/NAME"),
        ([run], "missing REPOSITORY"),
        ([tmp_path / "none", "ada/x"], "there is no folder"),
        ([tmp_path / "empty", "ada/x"], "no model"),
        ([run, "ada/x", "--license", "Apache 2.0"], "apache-2.0"),
        ([run, "ada/x", "--language", "English!"], "language"),
    ):
        assert push(*words, "--yes") == 2
        assert told in capsys.readouterr().err
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HF_TOKEN_PATH", str(tmp_path / "no-token"))
    assert push(run, "ada/labels", "--yes") == 2
    assert "hf auth login" in capsys.readouterr().err
    assert not hub.asked and not (run / CARD).exists()


def test_without_a_network(hub: Hub, run: Path, monkeypatch, capsys) -> None:
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    assert push(run, "ada/labels", "--yes") == 2
    error = capsys.readouterr().err
    assert "failed" in error and error.count("\n") == 1


def test_an_adapter_names_its_base_model_on_the_hub(
    hub: Hub, run: Path, tokenizer, tmp_path, capsys
) -> None:
    base = tmp_path / "base"
    Encoder(tiny.shape("bert", tokenizer)).save_pretrained(base)
    tokenizer.save(base)
    assert push(base, "ada/base", "--yes") == 0
    folder = huggingface_hub.snapshot_download("ada/base")
    model = SequenceClassifier.from_pretrained(folder, labels=("bird", "beast"))
    add_lora(model, rank=2)
    for name, start in (("far", "ada/base"), ("near", base)):
        save_adapter(model, tmp_path / name, start)
        tokenizer.save(tmp_path / name)
        task = TASKS["classification"](max_length=16, labels=("bird", "beast"))
        save_task(task, tmp_path / name)
        write_json(tmp_path / name / "options.json", {"model": str(start)})
    assert push(tmp_path / "near", "ada/near", "--yes") == 2
    assert "plainformer convert" in capsys.readouterr().err and "ada/near" not in hub.files
    assert push(tmp_path / "far", "ada/far", "--yes") == 0
    assert not any(str(tmp_path).encode() in content for content in hub.files["ada/far"].values())
    card = huggingface_hub.ModelCard(hub.files["ada/far"][CARD].decode())
    assert (card.data.library_name, card.data.base_model) == ("peft", "ada/base")
    text = ["the red hen"]
    here, there = (Predictor.load(place)(text) for place in (tmp_path / "far", "ada/far"))
    assert here[0].to_json() == there[0].to_json()

"""The judge of the speedrun: losses by the formula, the t-test, and what it refuses."""

import json
import math
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from plainformer.base import UserError
from plainformer.encoder import Sequences
from plainformer.pretrain.batch import MaskedBatch
from plainformer.tokenizer import train_tokenizer

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def speedrun() -> Any:
    patch = pytest.MonkeyPatch()
    patch.syspath_prepend(ROOT / "benchmarks")
    import speedrun

    yield speedrun
    patch.undo()


@pytest.fixture(scope="module")
def text(speedrun: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared text of random words, with another tokenizer than that of the rules."""
    from time_to_loss import prepare

    folder, rng = tmp_path_factory.mktemp("speedrun"), np.random.default_rng(0)
    words = ["".join(rng.choice(list("abcdefgh"), 4)) for _ in range(60)]
    lines = [json.dumps({"text": " ".join(rng.choice(words, 30))}) for _ in range(200)]
    (folder / "text.jsonl").write_text("\n".join(lines))
    train_tokenizer(words, kind="wordpiece", vocab_size=40).save(folder / "tokenizer")
    prepare(folder, [str(folder / "text.jsonl")])
    return folder


class Constant:
    """A model that gives token i the probability (i + 1) / 10 of a vocabulary of four."""

    steps = 0

    def logits(self, text: Any) -> torch.Tensor:
        assert not hasattr(text, "labels")
        return torch.tensor([1.0, 2.0, 3.0, 4.0]).log().repeat(len(text.target_positions), 1)


def test_the_loss_is_the_mean_over_all_hidden_tokens(speedrun: Any) -> None:
    ids = torch.zeros(3, dtype=torch.long)
    batches = [
        MaskedBatch(ids, Sequences.of([3]), torch.arange(len(labels)), torch.tensor(labels))
        for labels in ([3], [0, 1, 1])
    ]
    expected = -math.log(0.4 * 0.1 * 0.2 * 0.2) / 4
    assert speedrun.held_out_loss(Constant(), batches) == pytest.approx(expected)


def test_p_is_that_of_students_distribution(speedrun: Any) -> None:
    # With two degrees of freedom P(T < t) = 1/2 + t / (2 √(2 + t²)).
    losses = [5.30, 5.33, 5.36]
    t = (5.33 - 5.4) / (0.03 / math.sqrt(3))
    assert speedrun.probability(losses, 5.4) == pytest.approx(0.5 + t / (2 * math.sqrt(2 + t * t)))
    assert speedrun.probability([5.0], 5.4) == 1.0
    assert speedrun.probability([5.6, 5.5], 5.4) > 0.5


def test_another_text_is_refused(speedrun: Any, text: Path) -> None:
    with pytest.raises(UserError, match="tokenizer is"):
        speedrun.fixed_text(text)


def test_a_hash_depends_on_each_hidden_token(speedrun: Any, text: Path) -> None:
    from time_to_loss import Material

    material = Material(text)
    held_out = material.held_out()
    before = speedrun.fingerprints(material, held_out)
    assert before == speedrun.fingerprints(material, material.held_out())
    held_out[-1].labels[-1] += 1
    after = speedrun.fingerprints(material, held_out)
    assert [name for name in before if before[name] != after[name]] == ["held-out"]


def test_an_entry_is_run_timed_and_judged(
    speedrun: Any, text: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from time_to_loss import Material

    material = Material(text)
    monkeypatch.setattr(speedrun, "FIXED", speedrun.fingerprints(material, material.held_out()))
    entry = text / "short.py"
    entry.write_text(speedrun.BASELINE.read_text().replace("tokens=0.55", "tokens=0.003"))
    monkeypatch.setattr(speedrun, "BASELINE", entry)
    monkeypatch.setattr(speedrun, "commit", lambda: "0123456789ab")
    with pytest.raises(UserError, match="none yet"):
        speedrun.check(text, entry)
    speedrun.train(text, entry, seeds=2)
    monkeypatch.setattr(speedrun, "TARGET", 1.0)
    with pytest.raises(UserError, match="for losses"):
        speedrun.check(text, entry)  # three steps from log 40 = 3.69
    monkeypatch.setattr(speedrun, "TARGET", 4.5)
    monkeypatch.setattr(speedrun, "SIGNIFICANCE", 0.2)
    with pytest.raises(UserError, match="not timed"):
        speedrun.check(text, entry)
    speedrun.clock(text, entry)
    record = speedrun.check(text, entry)
    assert record["seeds"] == 2 and 0.2 < record["ratio"] < 5
    records = text / "records.jsonl"
    records.write_text(json.dumps(record) + "\n" + json.dumps(record | {"ratio": 0.001}) + "\n")
    rows = speedrun.table(records).splitlines()
    assert len(rows) == 4 and "| 0.001 |" in rows[2]


def test_every_entry_of_the_records_is_a_file(speedrun: Any) -> None:
    for line in speedrun.RECORDS.read_text().splitlines() if speedrun.RECORDS.exists() else ():
        entry = speedrun.BASELINE.parent / f"{json.loads(line)['entry']}.py"
        assert entry.exists()


def test_the_command_names_the_fault_in_one_line(
    speedrun: Any, text: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["speedrun.py", "run", str(text)])
    with pytest.raises(SystemExit, match=r"^2$"):
        speedrun.main()
    message = capsys.readouterr().err
    assert re.fullmatch(f"error: {re.escape(str(text))}: tokenizer is [0-9a-f]+, not .*\n", message)

"""Runs as their folders tell them, also half-written, foreign and empty ones."""

import json
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import save_file

from plainformer.runs import Run, differing_options, find_runs, lower_is_better, why_not_comparable
from plainformer.runs.curves import draw_curves, smoothed, x_of_steps

OPTIONS = {
    "corpus": ["gcide"],
    "objective": ["mlm"],
    "preset": "modern-tiny",
    "out": "runs/a",
    "training": {"learning_rate": 3e-3, "betas": [0.9, 0.98]},
}
HELD_OUT = {"objective": ["mlm"], "tokenizer": "abc", "batches": "def"}
LOG = [
    {"step": 1, "loss": 6.0, "tokens": 100},
    {"step": 2, "loss": 5.0, "tokens": 200},
    {"step": 2, "evaluation": {"loss": 4.0, "accuracy": 0.2, "perplexity": None}},
    {"step": 3, "loss": 4.0, "tokens": 300},
    {"step": 4, "loss": None, "tokens": 400},
    {"step": 4, "evaluation": {"loss": 4.5, "accuracy": 0.3}},
]
SPEED = [
    {"step": 2, "seconds": 1.0, "tokens_per_second": 200.0},
    {"step": 4, "seconds": 4.0, "tokens_per_second": 50.0},
]


def lines(rows: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)


def make(folder: Path, **files: Any) -> Path:
    """A run; `files` replace what is usual, None leaves one out."""
    folder.mkdir(parents=True)
    usual = {
        "options": OPTIONS,
        "plan": {"steps": 6},
        "held_out": HELD_OUT,
        "log": lines(LOG),
        "speed": lines(SPEED),
    }
    for name, content in {**usual, **files}.items():
        ending = "jsonl" if name in ("log", "speed") else "json"
        if content is not None:
            text = content if isinstance(content, str) else json.dumps(content)
            (folder / f"{name}.{ending}").write_text(text)
    return folder


def test_what_a_run_tells(tmp_path: Path) -> None:
    run = Run.read(make(tmp_path / "a"))
    assert (run.steps, run.total_steps, run.tokens, run.seconds) == (4, 6, 400, 5.0)
    assert (run.stage, run.model, run.main_metric) == ("pretrain mlm", "modern-tiny", "loss")
    assert run.last("loss") == 4.5 and run.best("loss") == (2, 4.0)
    assert run.last("accuracy") == 0.3 and run.best("accuracy") == (4, 0.3)
    assert run.last("perplexity") is None and run.best("f1") is None
    assert run.training_losses() == [(1, 6.0), (2, 5.0), (3, 4.0)]
    assert run.clock() == [(0, 0, 0), (2, 200, 1), (4, 400, 5)]
    assert run.notes == () and run.parameters is None


def test_a_task_is_judged_by_its_first_score(tmp_path: Path) -> None:
    options = {"task": {"name": "tagging"}, "model": "/models/minilm", "valid": "v", "training": {}}
    log = lines([{"step": 9, "evaluation": {"loss": 1.0, "f1": 0.5, "accuracy": 0.9}}])
    run = Run.read(make(tmp_path / "a", options=options, plan=None, log=log, held_out=None))
    assert (run.stage, run.model, run.main_metric) == ("finetune tagging", "minilm", "f1")
    assert (run.steps, run.total_steps) == (0, None)


def test_states(tmp_path: Path) -> None:
    folder = make(tmp_path / "a")
    assert Run.read(folder).state == "running"
    before = time.time() - 1000
    for path in folder.iterdir():
        os.utime(path, (before, before))
    assert Run.read(folder).state == "stopped"
    (folder / "log.jsonl").write_text("")
    os.utime(folder / "log.jsonl", (before, before))
    assert Run.read(folder).state == "begun"
    (folder / "metrics.json").write_text("{}")
    assert Run.read(folder).state == "finished"


def test_parameters_are_read_from_the_header(tmp_path: Path) -> None:
    folder = make(tmp_path / "a")
    for step in (5, 12):
        (folder / f"checkpoints/step-{step:08d}").mkdir(parents=True)
    newest = folder / "checkpoints/step-00000012/model.safetensors"
    newest.write_bytes(b"cut short")
    older = folder / "checkpoints/step-00000005/model.safetensors"
    save_file({"a": np.zeros((3, 4)), "b": np.zeros(5)}, older, metadata={"format": "pt"})
    assert Run.read(folder).parameters == 17
    save_file({"a": np.zeros((2, 2))}, folder / "model.safetensors")
    assert Run.read(folder).parameters == 4


def test_runs_are_found_and_the_newest_is_the_last(tmp_path: Path) -> None:
    for number, name in enumerate(["z", "deep/er/b", "a"]):
        folder = make(tmp_path / name)
        for path in folder.iterdir():
            os.utime(path, (1000 + number, 1000 + number))
    make(tmp_path / "a/checkpoints/step-1")
    make(tmp_path / "a/.hidden")
    (tmp_path / "empty").mkdir()
    several = make(tmp_path / "several", summary={"runs": {}})
    make(several / "seed-0")
    found = [str(run.folder.relative_to(tmp_path)) for run in find_runs(tmp_path)]
    assert found == ["z", "deep/er/b", "a", "several/seed-0"]
    assert [run.folder for run in find_runs(tmp_path / "z")] == [tmp_path / "z"]
    assert find_runs(tmp_path / "empty") == find_runs(tmp_path / "nowhere") == []


def test_what_is_half_written_is_read_as_far_as_it_goes(tmp_path: Path) -> None:
    run = Run.read(make(tmp_path / "cut", log=lines(LOG) + '{"step": 5, "los'))
    assert run.steps == 4 and run.notes == ()
    run = Run.read(make(tmp_path / "torn", log=lines(LOG[:3]) + "\0\0\0\n" + lines(LOG[3:])))
    assert run.steps == 4 and len(run.evaluations) == 2  # the torn line is none of these
    torn = lines(LOG[:3]) + '{"evaluation": \n' + lines(LOG[3:])
    run = Run.read(make(tmp_path / "evaluation", log=torn))
    assert len(run.evaluations) == 1 and "log.jsonl:4: not JSON" in run.notes[0]


@pytest.mark.parametrize("name", ["options", "plan", "held_out", "log", "speed"])
@pytest.mark.parametrize(
    "content", ["", "[]\n", "null\n", "3\n", "{\n", "\x00\n", '{"step": "x"}\n']
)
def test_foreign_files_get_a_note_at_most(tmp_path: Path, name: str, content: str) -> None:
    folder = make(tmp_path / "a", **{name: content})
    (run,) = find_runs(folder)
    assert len(run.notes) <= 1 and all(str(folder) in note for note in run.notes)
    assert run.stage in ("", "pretrain mlm")
    differing_options([run, run])
    why_not_comparable(run, run)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)
names = st.sampled_from([*OPTIONS, *LOG[0], "evaluation", "task", "model", "seconds"])


@settings(max_examples=30, deadline=None)
@given(st.dictionaries(names, json_values), st.dictionaries(names, json_values))
def test_no_content_is_a_traceback(tmp_path_factory: Any, options: Any, row: Any) -> None:
    row = {"step": 3, **row}
    folder = make(tmp_path_factory.mktemp("odd") / "a", options=options, log=lines([row, row]))
    (folder / "speed.jsonl").write_text(lines([row]))
    run = Run.read(folder)
    told = (run.stage, run.model, run.total_steps, run.state, run.main_metric, run.parameters)
    assert len(told) == 6
    assert run.best(run.main_metric) is None or run.values(run.main_metric)
    assert len(run.clock()) >= 1 and len(run.training_losses()) <= 2


def test_differing_options(tmp_path: Path) -> None:
    other = {
        **OPTIONS,
        "out": "runs/b",
        "preset": "modern-mini",
        "training": {**OPTIONS["training"], "learning_rate": 1e-3},
        "new": True,
    }
    runs = [Run.read(make(tmp_path / "a")), Run.read(make(tmp_path / "b", options=other))]
    assert differing_options(runs) == {
        "preset": ["modern-tiny", "modern-mini"],
        "training.learning_rate": [3e-3, 1e-3],
        "new": [None, True],
    }


def test_losses_compare_only_on_the_same(tmp_path: Path) -> None:
    one = Run.read(make(tmp_path / "a"))
    assert why_not_comparable(one, Run.read(make(tmp_path / "b"))) is None
    other = Run.read(make(tmp_path / "c", held_out={**HELD_OUT, "tokenizer": "x", "batches": "y"}))
    reason = why_not_comparable(one, other)
    assert reason == "another tokenizer, other held-out text or other masks"
    silent = Run.read(make(tmp_path / "d", held_out=None))
    assert "d does not record its held-out data" in str(why_not_comparable(silent, one))
    task = {"task": {"name": "tagging"}, "valid": "a.txt"}
    tasks = [Run.read(make(tmp_path / n, options={**task, "valid": n})) for n in ("e", "f")]
    assert why_not_comparable(*tasks) == "other validation examples"
    assert why_not_comparable(tasks[0], tasks[0]) is None
    assert why_not_comparable(one, tasks[0]) == "another stage"
    split = [{"train": "a.csv", "valid_share": share} for share in (0.1, 0.2)]
    split.append({"train": "b.csv", "valid_share": 0.1})
    drawn = [
        Run.read(make(tmp_path / f"g{n}", options={**task, "valid": None, **options}))
        for n, options in enumerate(split)
    ]
    assert why_not_comparable(drawn[0], drawn[0]) is None
    for other in (drawn[1], drawn[2], tasks[0]):
        assert why_not_comparable(drawn[0], other) == "other validation examples"


def test_curves(tmp_path: Path) -> None:
    run = Run.read(make(tmp_path / "a"))
    steps = np.array([1.0, 2.0, 3.0, 4.0])
    assert x_of_steps(run, "steps")(steps).tolist() == [1, 2, 3, 4]
    assert x_of_steps(run, "tokens")(steps).tolist() == [100, 200, 300, 400]
    assert x_of_steps(run, "seconds")(steps).tolist() == [0.5, 1, 3, 5]
    along, values = smoothed([(step, float(step % 2)) for step in range(1, 601)])
    assert len(along) == 300 and along[0] == 1.5 and set(values) == {0.5}
    for by in ("steps", "tokens", "seconds"):
        draw_curves([run, Run.read(make(tmp_path / by, log=None))], tmp_path / "p.png", by)
        assert (tmp_path / "p.png").read_bytes().startswith(b"\x89PNG")


def test_a_run_that_is_not_evaluated_yet_is_in_the_legend(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    figures: list[Any] = []
    monkeypatch.setattr(
        "plainformer.runs.curves.save_png", lambda figure, _: figures.append(figure)
    )
    begun = Run.read(make(tmp_path / "begun", log=lines(LOG[:2])))
    draw_curves([Run.read(make(tmp_path / "a")), begun], tmp_path / "p.png")
    named = [text.get_text() for text in figures[0].axes[0].get_legend().get_texts()]
    assert named == [str(tmp_path / "a"), str(tmp_path / "begun")]


def test_what_is_better() -> None:
    lower = ["loss", "mlm_loss", "perplexity", "squared_error", "mse", "mae"]
    assert all(map(lower_is_better, [*lower, "old_nats_per_character"]))
    assert not any(map(lower_is_better, ["accuracy", "f1", "spearman"]))


def test_a_run_without_validation_is_finished_once_its_model_is_there(tmp_path: Path) -> None:
    folder = make(tmp_path / "run")
    for name in ("metrics.json", "model.safetensors"):
        (folder / name).unlink(missing_ok=True)
    assert Run.read(folder).state != "finished"
    (folder / "model.safetensors").write_bytes(b"")
    assert Run.read(folder).state == "finished"

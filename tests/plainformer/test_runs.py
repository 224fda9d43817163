"""`plainformer runs`: real runs, listed, compared and drawn; and what is none."""

import io
import json
import re
import subprocess
import sys
from pathlib import Path

from rich.console import Console

from plainformer.commands.runs import COLUMNS, PIPED, listing
from plainformer.runs import Run
from tests.plainformer.conftest import ROOT


def swap(arguments: list[object], **changes: object) -> list[object]:
    """The arguments with other values for some options."""
    changed = list(arguments)
    for name, value in changes.items():
        option = f"--{name.replace('_', '-')}"
        if option in changed:
            changed[changed.index(option) + 1] = value
        else:
            changed += [option, value]
    return changed


def test_runs_are_listed_and_compared(call, pretraining, finetuning, tmp_path, monkeypatch):
    for name, options in {
        "a": {},
        "b": {"batch_tokens": 128, "learning_rate": 0.01},
    }.items():
        assert call(*swap(pretraining, out=tmp_path / name, **options)).code == 0
    assert call(*swap(finetuning, out=tmp_path / "task")).code == 0

    monkeypatch.chdir(tmp_path)
    code, out, err = call("runs", ".")
    assert (code, err) == (0, "")
    head, *rows = out.splitlines()
    assert max(map(len, (head, *rows))) <= PIPED
    assert head.split()[:3] == ["run", "stage", "model"]
    assert [row.split()[0] for row in rows] == ["a", "b", "task"]
    for part in ("pretrain mlm", "modern-speck", "finished", "6 of 6", "loss "):
        assert part in rows[0]
    for part in ("finetune classification", "accuracy "):
        assert part in rows[2]
    assert re.search(r" (\d+) of \1 ", rows[2])  # the steps that were planned

    code, out, err = call("runs", tmp_path / "a", tmp_path / "b", "--plot", tmp_path / "ab.png")
    assert (code, err) == (0, "")
    differing = {line.split()[0] for line in out.splitlines()}
    assert {"batch_tokens", "training.learning_rate"} <= differing
    assert not {"preset", "out", "training.steps", "max_length"} & differing
    assert "compare: measured on the same" in out
    assert (tmp_path / "ab.png").read_bytes().startswith(b"\x89PNG")

    assert "do not compare: another stage" in call("runs", tmp_path / "a", tmp_path / "task").out


def test_only_a_picture_is_overwritten(refused, tmp_path):
    (tmp_path / "notes.txt").write_text("mine")
    assert "must end in .png" in refused("runs", tmp_path, "--plot", tmp_path / "notes.txt")
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_the_help_names_the_folders(call):
    assert "usage: plainformer runs [FOLDERS …] [OPTION…]" in call("runs", "--help").out


def test_what_is_no_run_is_said_in_a_line(call, refused, tmp_path):
    assert "holds no run: give a folder that" in refused("runs", tmp_path)
    assert "is no folder" in refused("runs", tmp_path / "nowhere")
    (tmp_path / "half").mkdir()
    (tmp_path / "half" / "options.json").write_text('{"corpus": ')
    (tmp_path / "half" / "log.jsonl").write_text(json.dumps({"step": 3, "loss": 1.0}) + "\nhm\n")
    code, out, err = call("runs", tmp_path)
    assert code == 0 and "running" in out
    notes = err.splitlines()
    assert len(notes) == 2
    for note, name in zip(notes, ("options.json", "log.jsonl"), strict=True):
        assert note.startswith(str(tmp_path / "half" / name))


def test_a_list_of_runs_is_there_at_once(tmp_path):
    (tmp_path / "options.json").write_text("{}")
    program = (
        "import sys; from plainformer.__main__ import main; main(['runs', sys.argv[1]]);"
        "heavy = {'torch', 'numpy', 'matplotlib'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_a_list_fits_into_a_narrow_terminal(tmp_path):
    run = Run(
        Path("runs/a-run-of-mine"),
        options={"corpus": ["x"], "objective": ["mlm", "nsp"], "preset": "bert-base"},
        steps=1_000,
        tokens=1_000_000,
        seconds=3600.0,
    )
    for width, few in ((80, True), (200, False)):
        console = Console(width=width, record=True, file=io.StringIO())
        table = listing([run], console, width)
        console.print(table)
        lines = console.export_text().splitlines()
        assert len(lines) == 2, "no cell is broken"
        assert max(map(len, lines)) <= width
        assert (len(table.columns) < len(COLUMNS)) == few
        assert lines[1].startswith("runs/a-run-of-mine")

"""The front door: help at once, a message for a person, an exit code for a script."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plainformer.__main__ import COMMANDS
from tests.plainformer.conftest import ROOT, start


@pytest.mark.parametrize("arguments", [[], ["--help"], ["-h"]])
def test_help_names_every_command(call, arguments):
    code, out, err = call(*arguments)
    assert (code, err) == (0, "")
    assert all(f"\n  {name} " in out for name in COMMANDS)


def test_help_is_there_at_once():
    """Nothing heavy is imported for it, nor for a command that does not exist."""
    program = (
        "import sys; from plainformer.__main__ import main; main(['--help']); main(['nonsense']);"
        "heavy = {'torch', 'numpy', 'tokenizers', 'rich'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


def test_one_process_imports_no_compiler_and_no_engine_for_many():
    code = (
        "import sys, torch, finetune, pretrain, encoder;"
        "encoder.Encoder(encoder.EncoderConfig.preset('bert-mini'))(torch.ones(1, 3).long());"
        "heavy = {'torch._dynamo', 'torch.distributed.fsdp', 'transformers'} & set(sys.modules);"
        "sys.exit(f'imported {heavy}' if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_explains_itself(call, name):
    code, out, err = call(name, "--help")
    assert (code, err) == (0, "")
    assert f"usage: plainformer {name}" in out
    if name == "tokenizer":
        assert "--vocab-size" in call("tokenizer", "train", "--help").out


def test_every_option_is_explained(call):
    for name in ("pretrain", "finetune", "evaluate", "predict", "fill-mask"):
        out = " ".join(call(name, "--help").out.split())
        assert "(required)" in out and "(default:" in out and "--config FILE" in out


def test_the_help_of_pretrain_tells_what_a_recipe_is(call):
    out = " ".join(call("pretrain", "--help").out.split())
    assert "modern all defaults bert --preset bert-base" in out
    assert "continue --optimizer adamw --learning-rate 3e-4" in out


def test_the_help_of_finetune_fits_into_80_columns(call, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    assert max(map(len, call("finetune", "--help").out.splitlines())) <= 80


def test_the_help_of_a_task_has_its_options_in_groups(call):
    out = call("finetune", "tagging", "--help").out
    heads = [line for line in out.splitlines() if line.endswith(":") and line[0] != " "]
    groups = ["data", "task", "optimisation", "evaluation", "run"]
    groups += ["parameter-efficient fine-tuning", "robustness", "groups of examples"]
    groups += ["distillation", "data augmentation", "unlabelled texts"]
    assert heads == [f"{group}:" for group in groups]
    assert "--[no-]crf" in out and "Add a linear-chain CRF" in out
    assert "--balance" not in out and "--steps" not in out and "multi-label   " not in out
    every = call("finetune", "--help").out
    assert "--balance" in every and "--[no-]crf" not in every and "\n  tagging  " in every
    assert "there is no task 'tagger'" in call("finetune", "tagger", "--help").err


def test_version(call):
    assert call("--version").out.startswith("plainformer ")


def test_an_unknown_command_is_named_with_those_that_exist(call):
    code, out, err = call("pretrian")
    assert (code, out) == (2, "")
    assert err.startswith("plainformer: there is no command 'pretrian'") and "pretrain" in err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["pretrain"], "--corpus"),
        (["pretrain", "--stepz", "3"], "--stepz"),
        (["evaluate", "run", "--data"], "--data"),
        (["fill-mask", "run", "--text", "x", "--top", "many"], "--top"),
        (["tokenizer", "train", "--files", "a", "--out", "b", "--kind", "poetry"], "poetry"),
    ],
)
def test_what_cannot_be_parsed_is_named(call, arguments, said):
    code, out, err = call(*arguments)
    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.parametrize("arguments", [["tokenizer", "fetch"], ["data", "remove"]])
def test_an_unknown_second_word_is_answered_with_the_usage(call, arguments):
    code, _, err = call(*arguments)
    assert code == 2 and "usage: plainformer" in err


def test_a_module_is_a_command():
    process = start("nonsense", stdout=subprocess.PIPE)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 2 and "no command 'nonsense'" in err


def test_a_reader_that_leaves_is_no_fault(classifier, tmp_path):
    """`predict … | head -1`, with more to say than a pipe holds."""
    (tmp_path / "texts.txt").write_text("the red cat .\n" * 2000)
    process = start("predict", classifier, "--file", tmp_path / "texts.txt", stdout=subprocess.PIPE)
    assert process.stdout.readline().startswith('{"text"')
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 0


def test_a_reader_that_was_never_there_is_no_fault(classifier):
    """The answer fits into the buffer: the pipe is found broken only when it is emptied."""
    process = start("predict", classifier, "--text", "the cat", stdout=subprocess.PIPE)
    process.stdout.close()
    assert process.stderr.read() == ""
    assert process.wait(timeout=60) == 0


def test_ctrl_c_saves_says_where_and_leaves(pretraining, tmp_path, call):
    arguments = [a if a != 6 else 100_000 for a in pretraining]
    arguments[arguments.index("modern-speck")] = "bert-tiny"  # another process knows no speck
    process = start(*arguments, stdout=subprocess.PIPE)
    log = tmp_path / "run" / "log.jsonl"
    deadline = time.monotonic() + 100
    while not (log.exists() and log.stat().st_size):
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    *_, last = err.splitlines()
    assert last.endswith("--resume goes on from there") and str(tmp_path / "run") in last
    assert "Traceback" not in err and out == ""
    (checkpoint,) = (tmp_path / "run" / "checkpoints").iterdir()
    assert f"step {int(checkpoint.name[5:])} is saved" in last
    assert {path.name for path in (tmp_path / "run").rglob(".*")} == {".plainformer"}


def test_the_working_folder_is_not_needed(call, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert call("data", "list").code == 0
    assert list(Path.cwd().iterdir()) == []

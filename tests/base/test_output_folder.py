"""A folder for output: not one of others, not one in which another process writes."""

import errno
import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

from plainformer.base import UserError, is_inside, output_folder, replaced_folder
from plainformer.base.scratch import clear_leftovers, scratch_folder
from tests.base.processes import another_process_in


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    ("holds", "message"),
    [
        ((), None),
        ((".gitkeep", ".git/HEAD"), None),
        (("config.json", "model.safetensors"), r"did not write \(config.json\)"),
        (("notes.txt", ".plainformer"), r"did not write \(notes.txt\)"),
        (("runs/mine/log.jsonl",), r"did not write \(runs\)"),
        (("train", "a file"), r"did not write \(a file\)"),
    ],
)
def test_a_folder_of_others_is_refused(
    tmp_path: Path, holds: tuple[str, ...], message: str | None
) -> None:
    out = tmp_path / "out"
    for name in holds:
        (out / name).parent.mkdir(parents=True, exist_ok=True)
        (out / name).write_text("mine")
    out.mkdir(exist_ok=True)
    before = names(tmp_path)
    for held in (output_folder, replaced_folder):
        if message is None:
            with held(out, "pretrain"):
                pass
        else:
            with pytest.raises(UserError, match=message), held(out, "pretrain"):
                raise AssertionError
        assert names(tmp_path) - {"out/.plainformer"} == before - {"out/.plainformer"}
    assert all((out / name).read_text() == "mine" for name in holds)


def test_a_folder_is_written_again_by_the_command_that_wrote_it(tmp_path: Path) -> None:
    out = tmp_path / "deep" / "out"
    for files in ({"a", "b"}, {"b", "c"}):
        with replaced_folder(out, "tokenizer train") as new:
            for name in files:
                (new / name).write_text(name)
        assert names(out) == {*files, ".plainformer"}
    with (
        pytest.raises(UserError, match="was written by `plainformer tokenizer train`"),
        replaced_folder(out, "evaluate"),
    ):
        raise AssertionError
    (out / "notes.txt").write_text("mine")
    with (
        pytest.raises(UserError, match=r"did not write \(notes.txt\)"),
        replaced_folder(out, "tokenizer train"),
    ):
        raise AssertionError
    assert names(out) == {"b", "c", "notes.txt", ".plainformer"}


def test_a_file_of_others_in_a_subfolder_is_kept(tmp_path: Path) -> None:
    out = tmp_path / "out"
    for inner in ("onnx/deep/a", "onnx/deep/b", "torch/a"):
        with replaced_folder(out, "export") as new:
            (new / inner).parent.mkdir(parents=True)
            (new / inner).write_text("new")
        assert {name for name in names(out) if (out / name).is_file()} == {inner, ".plainformer"}
    assert names(out) == {"torch", "torch/a", ".plainformer"}, "emptied folders are gone"
    (out / "torch" / ".hidden").write_text("mine")
    (out / "torch" / "mine").symlink_to(tmp_path)
    with pytest.raises(UserError, match=r"\(torch/mine\)"), replaced_folder(out, "export"):
        raise AssertionError
    (out / "torch" / "mine").unlink()
    with replaced_folder(out, "export") as new:
        (new / "a").write_text("new")
    assert names(out) == {"a", "torch", "torch/.hidden", ".plainformer"}


@pytest.mark.parametrize("code", [errno.ENOSYS, errno.ENOLCK])
def test_without_locks_only_old_scratch_folders_are_left_over(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, code: int
) -> None:
    def refuse(descriptor: int, operation: int) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr("fcntl.flock", refuse)
    with scratch_folder(tmp_path) as scratch:
        clear_leftovers(tmp_path)
        assert scratch.exists(), "it may be in use"
        os.utime(scratch / "lock", (0, 0))
        clear_leftovers(tmp_path)
        assert not scratch.exists()


def test_a_folder_is_not_replaced_when_the_block_raises(tmp_path: Path) -> None:
    out = tmp_path / "out"
    with suppress(KeyboardInterrupt), replaced_folder(out / "sub", "evaluate") as new:
        (new / "a").write_text("half")
        raise KeyboardInterrupt
    assert names(tmp_path) == set(), "nothing is left of what failed"
    with replaced_folder(out, "evaluate") as new:
        (new / "a").write_text("old")
    with suppress(KeyboardInterrupt), replaced_folder(out, "evaluate") as new:
        (new / "a").write_text("half")
        raise KeyboardInterrupt
    assert (out / "a").read_text() == "old" and names(out) == {"a", ".plainformer"}


@pytest.mark.parametrize("fails", [False, True])
def test_what_holds_nothing_is_gone_again(tmp_path: Path, fails: bool) -> None:
    with suppress(KeyboardInterrupt), output_folder(tmp_path / "a" / "b", "pretrain"):
        assert (tmp_path / "a" / "b" / ".plainformer").exists()
        if fails:
            raise KeyboardInterrupt
    assert names(tmp_path) == set()
    (tmp_path / "mine").mkdir()
    with suppress(KeyboardInterrupt), output_folder(tmp_path / "mine", "pretrain"):
        if fails:
            raise KeyboardInterrupt
    assert names(tmp_path) == {"mine"}


def test_a_run_that_has_begun_keeps_its_mark(tmp_path: Path) -> None:
    with suppress(KeyboardInterrupt), output_folder(tmp_path / "run", "pretrain"):
        (tmp_path / "run" / "tokens").mkdir()
        raise KeyboardInterrupt
    with output_folder(tmp_path / "run", "pretrain"):
        assert names(tmp_path / "run") == {"tokens", ".plainformer"}
    with (
        pytest.raises(UserError, match="was written by `plainformer pretrain`"),
        output_folder(tmp_path / "run", "finetune"),
    ):
        raise AssertionError


def test_a_folder_known_by_other_signs_is_marked_only_when_it_was_written_to(
    tmp_path: Path,
) -> None:
    (tmp_path / "options.json").write_text("{}")
    with suppress(KeyboardInterrupt), output_folder(tmp_path, "pretrain", own=True):
        raise KeyboardInterrupt
    assert names(tmp_path) == {"options.json"}
    with output_folder(tmp_path, "pretrain", own=True):
        pass
    assert names(tmp_path) == {"options.json", ".plainformer"}


@pytest.mark.parametrize("theirs", [output_folder, replaced_folder])
@pytest.mark.parametrize("ours", [output_folder, replaced_folder])
def test_two_at_once(tmp_path: Path, theirs: Callable, ours: Callable) -> None:
    out = tmp_path / "out"
    with another_process_in(lambda: theirs(out, "evaluate")) as child:
        before = names(tmp_path)
        for _ in range(3):
            with (
                pytest.raises(UserError, match="another process is writing to"),
                ours(out, "evaluate"),
            ):
                raise AssertionError
        assert names(tmp_path) == before
        os.kill(child, signal.SIGKILL)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        with ours(out, "evaluate"):
            (out / "a").write_text("free again")
    assert names(out) == {"a", ".plainformer"}


@pytest.mark.parametrize("mark", ["", "{", "[]", '{"made_by": 1}', '{"made_by": "evaluate"}',
                                  '{"made_by": "evaluate", "files": "a"}',
                                  '{"made_by": "evaluate", "files": ["../mine"]}'])  # fmt: skip
def test_a_mark_that_does_not_tell_is_none(tmp_path: Path, mark: str) -> None:
    out = tmp_path / "out"
    out.mkdir()
    (tmp_path / "mine").write_text("mine")
    (out / "a").write_text("a")
    (out / ".plainformer").write_text(mark)
    with pytest.raises(UserError, match=r"did not write \(a\)"), replaced_folder(out, "evaluate"):
        raise AssertionError
    assert names(tmp_path) == {"mine", "out", "out/a", "out/.plainformer"}


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    for held in (output_folder, replaced_folder):
        with pytest.raises(UserError, match="is not a folder"), held(tmp_path / "file", "corpus"):
            raise AssertionError
        with (
            pytest.raises(UserError, match="cannot write to"),
            held(tmp_path / "file" / "sub", "corpus"),
        ):
            raise AssertionError
    assert (tmp_path / "file").read_text() == "mine"


# Names that become paths.


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("model-00001-of-00002.safetensors", True),
        ("1_Pooling", True),
        ("1_Pooling/config.json", True),
        ("..safetensors", True),
        ("北京.txt", True),
        ("", False),
        (".", False),
        ("..", False),
        ("../x", False),
        ("a/../../x", False),
        ("a/..", False),
        ("/etc/passwd", False),
        ("//host/share", False),
        ("C:\\x", False),
        ("C:x", False),
        ("..\\x", False),
        ("a\\..\\..\\x", False),
        ("a\0b", False),
    ],
)
def test_names_that_lead_out_of_a_folder(tmp_path: Path, name: str, expected: bool) -> None:
    assert is_inside(name) is expected
    if expected:
        inside = (tmp_path / name).resolve()
        assert inside.is_relative_to(tmp_path.resolve()) and inside != tmp_path.resolve()

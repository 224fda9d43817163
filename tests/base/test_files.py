"""Files appear whole or not at all."""

import json
from pathlib import Path

import pytest

from plainformer.base import UserError, atomic_folder, atomic_path, write_json, write_text
from tests.disk import disk_with_room_for


class Interrupted(Exception):
    pass


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if not p.is_dir()}


def test_a_file_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "er" / "file.txt"
    with atomic_path(target) as path:
        assert path.parent.parent == target.parent, "on the same disk, or a rename would copy"
        path.write_text("new")
        assert not target.exists()
    assert everything(tmp_path) == {"deep/er/file.txt": b"new"}
    assert target.stat().st_mode & 0o777 == 0o644


def test_a_file_is_replaced(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    with atomic_path(str(target)) as path:
        path.write_text("new")
        assert target.read_text() == "old"
        reader = target.open()
    with reader:
        assert reader.read() == "old", "renamed over: who has the old file open keeps all of it"
    assert everything(tmp_path) == {"file.txt": b"new"}


@pytest.mark.parametrize("error", [Interrupted, KeyboardInterrupt])
def test_an_old_file_stays_when_the_block_raises(
    tmp_path: Path, error: type[BaseException]
) -> None:
    target = tmp_path / "file.txt"
    target.write_text("old")
    with pytest.raises(error), atomic_path(target) as path:
        path.write_text("half of the n")
        raise error
    with pytest.raises(error), atomic_path(tmp_path / "other") as path:
        raise error
    assert everything(tmp_path) == {"file.txt": b"old"}


def test_a_file_that_a_writer_renames_into_place(tmp_path: Path) -> None:
    """Some writers replace the path that they are given, instead of filling it."""
    with atomic_path(tmp_path / "file.txt") as path:
        other = tmp_path / "scratch"
        other.write_text("new")
        other.replace(path)
    assert everything(tmp_path) == {"file.txt": b"new"}


def test_a_folder_appears_when_the_block_ends(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "folder"
    with atomic_folder(target) as path:
        (path / "sub").mkdir()
        (path / "sub" / "a").write_text("1")
        assert not target.exists()
    assert everything(tmp_path) == {"deep/folder/sub/a": b"1"}
    assert target.stat().st_mode & 0o777 == 0o755


def test_a_folder_is_replaced_with_all_that_is_in_it(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with atomic_folder(target) as path:
        (path / "a").write_text("1")
        (path / "b").write_text("2")
    with atomic_folder(target) as path:
        (path / "a").write_text("3")
        assert everything(target) == {"a": b"1", "b": b"2"}
    assert everything(tmp_path) == {"folder/a": b"3"}
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_an_old_folder_stays_when_the_block_raises(tmp_path: Path) -> None:
    target = tmp_path / "folder"
    with atomic_folder(target) as path:
        (path / "a").write_text("1")
    with pytest.raises(Interrupted), atomic_folder(target) as path:
        (path / "a").write_text("half")
        raise Interrupted
    with pytest.raises(Interrupted), atomic_folder(tmp_path / "other"):
        raise Interrupted
    assert everything(tmp_path) == {"folder/a": b"1"}
    assert [p.name for p in tmp_path.iterdir()] == ["folder"]


def test_an_old_folder_stays_when_it_cannot_be_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "folder"
    with atomic_folder(target) as path:
        (path / "a").write_text("1")
    rename = Path.rename

    def refuse(self: Path, other: Path) -> Path:
        if Path(other) == target and not target.exists():
            monkeypatch.undo()
            raise OSError("the disk says no")
        return rename(self, other)

    monkeypatch.setattr(Path, "rename", refuse)
    with pytest.raises(OSError, match="the disk says no"), atomic_folder(target) as path:
        (path / "a").write_text("2")
    assert everything(tmp_path) == {"folder/a": b"1"}


def test_a_file_where_a_folder_should_be(tmp_path: Path) -> None:
    target = tmp_path / "name"
    target.write_text("a file")
    with pytest.raises(OSError), atomic_folder(target) as path:
        (path / "a").write_text("1")
    assert everything(tmp_path) == {"name": b"a file"}


def test_a_full_disk(tmp_path: Path) -> None:
    target = tmp_path / "file.txt"
    write_text(target, "old")
    with disk_with_room_for(100), pytest.raises(OSError):
        write_text(target, "new" * 1000)
    assert everything(tmp_path) == {"file.txt": b"old"}


def test_text_and_json_are_utf8(tmp_path: Path) -> None:
    write_text(tmp_path / "t", "Zürich 北京\n")
    assert (tmp_path / "t").read_bytes() == "Zürich 北京\n".encode()
    value = {"ß": [1, 2.5, None, True], "path": Path("a/b")}
    write_json(tmp_path / "j.json", value)
    text = (tmp_path / "j.json").read_text(encoding="utf-8")
    assert json.loads(text) == {**value, "path": "a/b"}
    assert "ß" in text
    assert text.endswith("}\n")


def test_json_that_cannot_be_leaves_the_old(tmp_path: Path) -> None:
    write_json(tmp_path / "j.json", 1)
    with pytest.raises(TypeError):
        write_json(tmp_path / "j.json", {"a": object()})
    assert everything(tmp_path) == {"j.json": b"1\n"}


def test_a_user_error_is_no_bug() -> None:
    assert issubclass(UserError, Exception)
    assert not issubclass(UserError, ValueError | OSError)
    assert str(UserError("names the fault")) == "names the fault"


def test_a_failure_without_a_name_is_given_the_files(tmp_path: Path) -> None:
    with pytest.raises(OSError) as failure, atomic_path(tmp_path / "vectors.npy"):
        raise OSError("Not enough free space")
    assert failure.value.filename == str(tmp_path / "vectors.npy")
    assert not list(tmp_path.iterdir())

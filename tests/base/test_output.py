"""What `--out` may be: pipes, links, devices, modes, folders of others; killed and side by side."""

import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch

from plainformer.base import (
    UserError,
    atomic_folder,
    atomic_path,
    clear_leftovers,
    refuse_same_file,
    remove_folder,
    replaced_folder,
    write_text,
)
from plainformer.base.tensors import save_tensors
from tests.base.processes import another_process_in, dies_at, half_way

ROOT = Path(__file__).parents[2]


@contextmanager
def umask(mask: int) -> Iterator[None]:
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def names(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*")}


# Pipes, devices and links.


@pytest.mark.parametrize("linked", [False, True])
def test_a_pipe_stays_a_pipe(tmp_path: Path, linked: bool) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    target = pipe
    if linked:
        target = tmp_path / "link"
        target.symlink_to("pipe")
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_text(target, "all of it" * 20_000)
    reader.join(10)
    assert read == [b"all of it" * 20_000]
    assert pipe.is_fifo() and names(tmp_path) == {"pipe", "link"} - ({"link"} - {target.name})


def test_a_device_stays_a_device(tmp_path: Path) -> None:
    """A null device of our own: the system's is not touched."""
    null = tmp_path / "null"
    try:
        os.mknod(null, 0o666 | stat.S_IFCHR, os.makedev(1, 3))
        null.write_bytes(b"it may be opened")
    except OSError:
        pytest.skip("devices may not be made or opened here")
    (tmp_path / "link").symlink_to(null)
    for path in (null, tmp_path / "link"):
        write_text(path, "gone")
        assert stat.S_ISCHR(null.stat().st_mode) and null.read_bytes() == b""
    assert (tmp_path / "link").is_symlink() and names(tmp_path) == {"null", "link"}


@pytest.mark.parametrize(
    ("link", "to", "file"),
    [
        ("link", "file", "file"),
        ("link", "deep/er/file", "deep/er/file"),
        ("deep/er/link", "../../file", "file"),
        ("link", "second", "file"),
        ("link", "not/there/yet", "not/there/yet"),
    ],
)
def test_a_symbolic_link_is_followed(tmp_path: Path, link: str, to: str, file: str) -> None:
    (tmp_path / "deep" / "er").mkdir(parents=True)
    (tmp_path / "second").symlink_to("file")
    if "not" not in file:
        (tmp_path / file).write_text("old")
    (tmp_path / link).symlink_to(to)
    write_text(tmp_path / link, "new")
    assert (tmp_path / link).readlink() == Path(to)
    assert (tmp_path / file).read_text() == "new" and not (tmp_path / file).is_symlink()
    assert not list(tmp_path.rglob(".*"))


def test_a_link_to_a_folder_is_followed(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("real")
    for text in ("old", "new"):
        with atomic_folder(tmp_path / "link") as folder:
            (folder / "a").write_text(text)
        with replaced_folder(tmp_path / "link" / "sub", "evaluate") as folder:
            (folder / "b").write_text(text)
    assert (tmp_path / "link").readlink() == Path("real")
    assert names(tmp_path / "real") == {"a", "sub", "sub/b", "sub/.plainformer"}


@pytest.mark.parametrize("how", [">", ">>", "|"])
def test_standard_output_by_its_name(tmp_path: Path, how: str) -> None:
    (tmp_path / "file").write_text("before\n")
    program = "import plainformer.base; plainformer.base.write_text('/dev/stdout', 'written\\n')"
    python = f'{sys.executable} -c "{program}"'
    command = f"{python} | cat > file" if how == "|" else f"{python} {how} file"
    subprocess.run(
        command, shell=True, check=True, cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(ROOT)}
    )
    before = "before\n" if how == ">>" else ""
    assert (tmp_path / "file").read_text() == f"{before}written\n"
    assert names(tmp_path) == {"file"}


def test_what_no_file_can_be(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)  # a socket's path is short
    (tmp_path / "folder").mkdir()
    (tmp_path / "to-folder").symlink_to("folder")
    (tmp_path / "loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        before = names(tmp_path)
        for name, message in (
            ("folder", "is a folder: name a file"),
            ("to-folder", "is a folder: name a file"),
            ("socket", "is a block device or a socket"),
        ):
            with pytest.raises(UserError, match=f"{name} {message}"):
                write_text(name, "x")
        with pytest.raises(OSError):
            write_text("loop", "x")
        with pytest.raises(OSError):
            write_text("loop/file", "x")
    assert names(tmp_path) == before


def test_what_is_read_is_not_written(tmp_path: Path) -> None:
    (tmp_path / "texts").write_text("mine")
    (tmp_path / "link").symlink_to("texts")
    os.link(tmp_path / "texts", tmp_path / "same")
    for out in ("texts", "link", "same", "../" + tmp_path.name + "/texts"):
        with pytest.raises(UserError, match="is the input file"):
            refuse_same_file(tmp_path / out, tmp_path / "texts")
    refuse_same_file(tmp_path / "other", tmp_path / "texts")
    refuse_same_file(tmp_path / "texts", None)
    refuse_same_file(Path("/dev/stdout"), Path("/dev/stdin"))


# Modes.


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a device of Linux")
def test_a_device_that_is_full_is_named() -> None:
    with pytest.raises(OSError, match=r"No space left on device: '/dev/full'"):
        write_text("/dev/full", "x")


@pytest.mark.parametrize(
    ("mask", "before", "after"),
    [
        (0o022, None, 0o644),
        (0o077, None, 0o600),
        (0o002, None, 0o664),
        (0o000, None, 0o666),
        (0o022, 0o600, 0o600),
        (0o022, 0o664, 0o664),
        (0o077, 0o755, 0o755),
        (0o022, 0o606, 0o606),
    ],
)
def test_modes(tmp_path: Path, mask: int, before: int | None, after: int) -> None:
    """A new file has what the umask leaves; one that is there keeps its own. Folders alike."""
    if before is not None:
        (tmp_path / "file").write_text("old")
        (tmp_path / "file").chmod(before)
        (tmp_path / "folder").mkdir()
        (tmp_path / "folder").chmod(before | 0o700)
    with umask(mask):
        write_text(tmp_path / "file", "new")
        with atomic_path(tmp_path / "other") as path:  # some writers put a file in its place
            path.unlink()
            os.close(os.open(path, os.O_CREAT, 0o400))
        with atomic_folder(tmp_path / "folder") as folder:
            (folder / "a").write_text("1")
            save_tensors({"x": torch.ones(1)}, folder / "tensors")
        with replaced_folder(tmp_path / "report", "evaluate") as folder:
            write_text(folder / "b", "1")
    kept = {path.name: stat.S_IMODE(path.stat().st_mode) for path in tmp_path.rglob("*")}
    assert kept["file"] == after
    assert kept["other"] == kept["b"] == kept["tensors"] == kept[".plainformer"] == 0o666 & ~mask
    assert kept["report"] == 0o777 & ~mask
    assert kept["folder"] == (0o777 & ~mask if before is None else before | 0o700)


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is read-only for root")
def test_what_is_read_only_is_kept(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "file").chmod(0o444)
    with pytest.raises(PermissionError):
        write_text(tmp_path / "file", "new")
    assert (tmp_path / "file").read_text() == "mine" and names(tmp_path) == {"file"}


# Killed at every call of the system.


def write_file(folder: Path, text: str) -> None:
    with atomic_path(folder / "target") as path, path.open("w") as file:
        file.write(text[:3])
        file.flush()
        half_way()
        file.write(text[3:])


def write_folder(folder: Path, text: str) -> None:
    with atomic_folder(folder / "target") as new:
        (new / "a").write_text(text)
        half_way()
        (new / "b").write_text(text)


def write_report(folder: Path, text: str) -> None:
    """Of the old files `a` and `old`, of the new ones `a` and `new`."""
    with replaced_folder(folder / "target", "evaluate") as new:
        (new / "a").write_text(text)
        half_way()
        (new / text.split()[0]).write_text(text)


def content(folder: Path) -> object:
    """What a person sees in a folder that no process is writing to."""
    for path in (folder, folder / "target"):
        clear_leftovers(path)
    target = folder / "target"
    if not target.is_dir():
        return target.read_text() if target.exists() else None
    return {path.name: path.read_text() for path in target.glob("[!.]*")} or None


@pytest.mark.parametrize("begins", ["new", "replaces"])
@pytest.mark.parametrize("write", [write_file, write_folder, write_report])
def test_killed_at_every_moment(
    tmp_path: Path, write: Callable[[Path, str], None], begins: str
) -> None:
    """What was there is there, or all that is new; and the next command leaves nothing hidden."""
    states = []
    old = None
    for text in ("old file", "new file"):
        write(tmp_path / "wanted", text)
        old, new = (old, content(tmp_path / "wanted"))
        if text == "old file":
            old, new = new, None
    if begins == "new":
        old = None
    for number in range(1, 1000):
        folder = tmp_path / str(number)
        folder.mkdir()
        if begins == "replaces":
            write(folder, "old file")
        was_killed = dies_at(number, lambda folder=folder: write(folder, "new file"))
        states.append(content(folder))
        assert states[-1] in (old, new)
        write(folder, "new file")
        assert content(folder) == new
        hidden = {path.name for path in folder.rglob(".*")}
        assert hidden == ({".plainformer"} if write is write_report else set())
        if not was_killed:
            break
    assert number > 10 and states[0] == old and states[-1] == new
    assert sorted(states, key=lambda state: state == new) == states, "first old, from then on new"


def test_a_folder_that_is_removed_is_there_or_gone(tmp_path: Path) -> None:
    whole = {"step", "step/a", "step/sub", "step/sub/b"}
    for number in range(1, 1000):
        (tmp_path / "step" / "sub").mkdir(parents=True, exist_ok=True)
        (tmp_path / "step" / "a").write_text("1")
        (tmp_path / "step" / "sub" / "b").write_text("2")
        was_killed = dies_at(number, lambda: remove_folder(tmp_path / "step"))
        clear_leftovers(tmp_path)
        assert names(tmp_path) in (whole, set())
        if not was_killed:
            break
    assert number > 5 and names(tmp_path) == set()


def test_only_leftovers_of_our_own_are_cleared(tmp_path: Path) -> None:
    for name in (".git", ".file.txt.swp", ".plain", ".plainformers", ".cache"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a").write_text("mine")
    before = names(tmp_path)
    write_text(tmp_path / "file", "new")
    assert names(tmp_path) == before | {"file"}


def test_what_a_living_process_writes_is_left_alone(tmp_path: Path) -> None:
    with another_process_in(lambda: atomic_path(tmp_path / "theirs")) as child:
        write_text(tmp_path / "ours", "new")
        clear_leftovers(tmp_path)
        (scratch,) = tmp_path.glob(".plainformer-*")
        assert (scratch / "new").exists()
        os.kill(child, signal.SIGKILL)
        os.waitid(os.P_PID, child, os.WEXITED | os.WNOWAIT)
        write_text(tmp_path / "ours", "newer")
    assert names(tmp_path) == {"ours"}

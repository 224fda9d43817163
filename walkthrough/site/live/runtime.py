"""Fetch ONNX Runtime Web from the npm registry: one pinned version, its checksum verified.

npm downloads the archive, and two files are read from it; nothing of it is installed or run.
"""

import base64
import hashlib
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from pathlib import Path

from plainformer.base import UserError

PACKAGE = "onnxruntime-web@1.30.0"
ARCHIVE = "onnxruntime-web-1.30.0.tgz"
SHA512 = "q0y+JrrtukXSzsBWEMccVfqX25LRmosXHF+CaRJmg8pZClzcV7svNc4rKY3jL02Vb7QmRMDs1SigqR4CXAfKYQ=="
"""As the registry writes it: in base64."""


@dataclass(frozen=True)
class Runtime:
    """The two files of ONNX Runtime Web: its JavaScript, and its WebAssembly."""

    module: bytes
    """The JavaScript module, for WebAssembly alone."""
    wasm: bytes


def fetch_runtime(cache: Path) -> Runtime:
    """Return the runtime, downloaded unless `cache` has it.

    Raises:
        UserError: npm is missing, cannot download it, or brings another file.
    """
    archive = cache / ARCHIVE
    if not archive.is_file():
        _download(cache)
    found = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if found != SHA512:
        archive.unlink()
        raise UserError(f"{ARCHIVE} is not the file that was pinned: its sha512 is {found}")
    with tarfile.open(archive) as files:
        return Runtime(
            _read(files, "package/dist/ort.wasm.bundle.min.mjs"),
            _read(files, "package/dist/ort-wasm-simd-threaded.wasm"),
        )


def _download(cache: Path) -> None:
    npm = shutil.which("npm")
    if npm is None:
        raise UserError(f"npm is not installed, which downloads {PACKAGE}")
    cache.mkdir(parents=True, exist_ok=True)
    command = [npm, "pack", PACKAGE, "--ignore-scripts", "--silent"]
    command += ["--fetch-retries=1", "--fetch-timeout=60000"]
    done = subprocess.run(command, cwd=cache, capture_output=True, check=False)
    if done.returncode != 0 or not (cache / ARCHIVE).is_file():
        raise UserError(f"npm could not download {PACKAGE}: is there a connection to its registry?")


def _read(files: tarfile.TarFile, name: str) -> bytes:
    member = files.extractfile(name)
    assert member is not None
    return member.read()

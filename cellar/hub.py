"""A name becomes a folder: one that is here, or the cached copy of the hub's repository."""

from pathlib import Path

from cellar.errors import UserError

FETCHED = ["*.json", "*.safetensors", "*.txt", "*.model"]
"""what is used of a repository: config, weights and tokenizer"""


def find_folder(name: str | Path) -> Path:
    """Give the folder `name`, or fetch the hub's repository of that name ("owner/name").

    The hub is asked only where `huggingface_hub` is installed, and keeps its copy in its own cache.
    Raises UserError where neither is to be had.
    """
    path, name = Path(name), str(name)
    if path.is_dir():
        return path
    if path.exists():
        raise UserError(f"{path} is a file: a folder is asked for")
    if name.count("/") > 1 or name.startswith((".", "/", "~")):
        raise UserError(f"there is no folder {name}")
    try:
        from huggingface_hub import snapshot_download
    except ImportError:
        raise UserError(
            f"there is no folder {name}; to fetch a model of that name from the hub: "
            "pip install 'plainformer[hub]'"
        ) from None
    try:
        return Path(snapshot_download(name, allow_patterns=FETCHED))
    except Exception as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(
            f"there is no folder {name}, and the hub did not give it: {reason}"
        ) from None

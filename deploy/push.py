"""Upload a model folder to the hub: weights, config, tokenizer, task and card, and nothing else.

    uploads = files_to_push(folder, "ada/labels")
    push(uploads, "ada/labels", private=True)

A run also holds checkpoints, logs, options and pictures, and maybe data: only files of the names in
`FILES` are taken. An adapter names its base model by its place on the hub.
"""

import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plainformer.base import UserError, read_json
from plainformer.base.hub import HUB_ID
from plainformer.deploy.card import CARD, Facts, write_card
from plainformer.deploy.card.loading import EXPORTED, REPOSITORY, WEIGHTS, check_base
from plainformer.deploy.card.write import add_to_card, has_seal, read_card
from plainformer.encoder.weights import is_adapter
from plainformer.encoder.weights.adapter import CONFIG as ADAPTER_CONFIG

FILES = (
    *(CARD, "LICENSE", "config.json", "task.json", "tuning.json", ADAPTER_CONFIG),
    *(*WEIGHTS, "model-*-of-*.safetensors", "encoder.safetensors", "head.safetensors"),
    *("crf.safetensors", "onnx/*.onnx", "onnx/*.onnx_data", "torch/*.pt2"),
    *("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json"),
    *("vocab.txt", "vocab.json", "merges.txt", "tokenizer.model", "spiece.model"),
    *("sentencepiece.bpe.model", "modules.json", "config_sentence_transformers.json"),
    *("sentence_*_config.json", "[0-9]_*/config.json", "[0-9]_*/model.safetensors"),
)
"""The files of a model folder, of all its forms."""
LOGIN = "log in with `hf auth login`, or set HF_TOKEN"


@dataclass(frozen=True)
class Upload:
    """A file to upload: its name in the repository, and its path, or its bytes if they change."""

    name: str
    content: Path | bytes

    @property
    def size(self) -> int:
        """Return the size in bytes."""
        if isinstance(self.content, bytes):
            return len(self.content)
        return self.content.stat().st_size


def prepare_card(folder: Path, given: dict[str, Any]) -> None:
    """Write the card of a folder that has none, and add the `given` fields to its front matter.

    Raises `UserError` for a field that the card has with another value.
    """
    if read_card(folder) is None:
        write_card(folder)
    add_to_card(folder, given)


def files_to_push(folder: Path, repository: str) -> list[Upload]:
    """List the files of the model in `folder`, as they will be in `repository`.

    Raises `UserError` for a folder without a model, and for an adapter of a model that is not on
    the hub.
    """
    if not any((folder / name).is_file() for name in (*WEIGHTS, EXPORTED)):
        raise UserError(f"{folder} holds no model: name the folder of a finished run")
    found = sorted({path for name in FILES for path in folder.glob(name) if path.is_file()})
    return [upload(path, path.relative_to(folder).as_posix(), repository) for path in found]


def upload(path: Path, name: str, repository: str) -> Upload:
    """Return a file, with the places in it that only its author knows replaced."""
    if name == CARD:
        card = read_card(path.parent) or ""
        text = card.replace(REPOSITORY, repository) if has_seal(card) else card
        return Upload(name, text.encode())
    if name == ADAPTER_CONFIG or (name == "tuning.json" and is_adapter(path.parent)):
        facts = Facts.of(path.parent)
        check_base(facts)
        fields = read_json(path)
        if name == ADAPTER_CONFIG:
            fields["base_model_name_or_path"] = facts.base
        else:
            fields["base"]["name"] = facts.base
        return Upload(name, (json.dumps(fields, indent=2, ensure_ascii=False) + "\n").encode())
    return Upload(name, path)


def check_repository(repository: str) -> None:
    """Raise `UserError` for anything but USER/NAME."""
    if not HUB_ID.fullmatch(repository):
        raise UserError(
            "the second argument must be USER/NAME, the user or organisation and the name of the "
            "model on the hub, of letters, digits, -, _ and ."
        )


@dataclass(frozen=True)
class There:
    """The state of a repository on the hub before the upload."""

    exists: bool
    private: bool


def look(repository: str, private: bool = False) -> There:
    """Ask the hub for a repository.

    Raises `UserError` without a token, where the hub does not answer, and for a repository that is
    public and should be private.
    """
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import RepositoryNotFoundError

    if get_token() is None:
        raise UserError(f"there is no token for the hub: {LOGIN}")
    with hub_errors(repository):
        try:
            there = There(True, bool(HfApi().model_info(repository).private))
        except RepositoryNotFoundError:
            there = There(False, private)
    if private and not there.private:
        raise UserError(
            f"{repository} is there already, and public: make it private in its settings on the "
            "hub, or choose another name"
        )
    return there


def push(uploads: Sequence[Upload], repository: str, private: bool = False) -> str:
    """Upload files in one commit to a repository, which is made if it is not there.

    Returns its address. Raises `UserError` as `look` does, and where the hub refuses.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    look(repository, private)
    operations = [CommitOperationAdd(one.name, one.content) for one in uploads]
    with hub_errors(repository):
        api = HfApi()
        address = api.create_repo(repository, private=private or None, exist_ok=True)
        api.create_commit(repository, operations, commit_message="Upload with plainformer push")
    return str(address)


@contextmanager
def hub_errors(repository: str) -> Iterator[None]:
    """Replace whatever fails in a conversation with the hub by a `UserError`."""
    from huggingface_hub.errors import HfHubHTTPError

    try:
        yield
    except HfHubHTTPError as error:
        status = error.response.status_code
        said = " ".join((error.server_message or "").split())
        advice = {
            401: f"the hub does not accept the token: {LOGIN}",
            403: f"the token may not write to {repository}: take one that may, of that user",
            404: f"the hub has no {repository}, or does not show it to you: check the name",
        }
        told = advice.get(status, f"the hub answered with status {status}")
        raise UserError(f"{told}{said and f' (it says: {said})'}") from None
    except (KeyboardInterrupt, UserError):
        raise
    except Exception as error:
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise UserError(f"uploading to {repository} failed: {reason}") from None

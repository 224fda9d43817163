"""Merge all tokenizer files of a folder into one `tokenizer.json`.

A class listed in `pipelines` takes only the vocabulary from the files, and its steps are rebuilt;
any other class uses its `tokenizer.json` unchanged. Added tokens of the folder follow in both
cases.
"""

from pathlib import Path
from typing import Any

from plainformer.base import Fields, UserError, read_json
from plainformer.tokenizer.base import SPECIAL_TOKENS
from plainformer.tokenizer.encoding import Template, TemplatePart
from plainformer.tokenizer.folder import (
    READ_UNCHANGED,
    ROLES,
    AddedToken,
    TokenizerFolder,
    added_token_of,
    assign_ids,
    with_default_flags,
)
from plainformer.tokenizer.pipelines import (
    PIPELINES,
    Pipeline,
    ignored_part,
    pipeline_steps,
    refuse_other_model,
    roberta_template,
    template_of,
)

SOURCES = ("spiece.model", "sentencepiece.bpe.model", "vocab.json", "merges.txt", "vocab.txt")
"""Vocabulary files of older folders without a `tokenizer.json`."""

AddedTokens = list[tuple[AddedToken, int | None]]
Roles = dict[str, str]


def definition_of(folder: TokenizerFolder) -> tuple[dict[str, Any], Roles]:
    """Build the complete `tokenizer.json` of a folder, and its special tokens by role.

    Raises:
        UserError: a file is missing or damaged, or two files contradict each other.
    """
    name = folder.tokenizer_class
    if folder.definition is None:
        name = folder.tokenizer_class = _class_of_files(folder)
    if name in PIPELINES:
        return _rebuilt(folder, PIPELINES[name])
    if name not in READ_UNCHANGED:
        raise UserError(
            f"{folder.path}: tokenizer_class {name} is not supported: to use tokenizer.json "
            'unchanged, write "tokenizer_class": "PreTrainedTokenizerFast" into '
            "tokenizer_config.json"
        )
    assert folder.definition is not None
    return _unchanged(folder, folder.definition)


def vocabulary_of(definition: Fields) -> dict[str, int]:
    """Read the vocabulary of the model in a `tokenizer.json`, without added tokens.

    Raises:
        UserError: the field is not a vocabulary.
    """
    model = definition.fields("model")
    vocab = model.values.get("vocab")
    if isinstance(vocab, dict):
        if not all(type(id) is int and 0 <= id < 2**31 for id in vocab.values()):
            raise model.wrong("vocab", "an object of ids")
        return vocab
    if isinstance(vocab, list):
        pieces = [item[0] if isinstance(item, list) and item else item for item in vocab]
        if all(isinstance(piece, str) for piece in pieces):
            return {piece: id for id, piece in enumerate(pieces)}
    raise model.wrong("vocab", "a vocabulary")


def _unchanged(folder: TokenizerFolder, definition: Fields) -> tuple[dict[str, Any], Roles]:
    present: AddedTokens = [
        (
            with_default_flags(added_token_of(item, definition.source)),
            Fields(item, definition.source).whole("id"),
        )
        for item in definition.items("added_tokens", [])
    ]
    by_content = {token["content"]: (token, id) for token, id in present}
    listed = [
        (token, id)
        for token, id in folder.tokens
        if by_content.get(token["content"]) != (with_default_flags(token), id)
    ]
    further = _without(present + listed, [*folder.roles.values(), *folder.extra])
    vocabulary = vocabulary_of(definition)
    listed = _special_where_named(listed, folder.roles)
    assigned = assign_ids([*present, *listed, *further], vocabulary, definition.source)
    roles = {role: t["content"] for role, t in folder.roles.items() if role in SPECIAL_TOKENS}
    pad = definition.fields("padding").text("pad_token", None)
    if pad in vocabulary or pad in {token["content"] for token in assigned}:
        roles.setdefault("pad", pad)
    return dict(definition.values) | {"added_tokens": assigned}, roles


def _rebuilt(folder: TokenizerFolder, pipeline: Pipeline) -> tuple[dict[str, Any], Roles]:
    name, definition = folder.tokenizer_class, folder.definition
    if definition is None:
        model, source = _model_of_files(folder.path, pipeline.model_type)
        vocabulary: dict[str, int] = model["vocab"]
    else:
        refuse_other_model(name, definition)
        model, source = dict(definition.fields("model").values), definition.source
        vocabulary = vocabulary_of(definition)
    roles = _all_roles(folder, pipeline)
    tokens: AddedTokens = _special_where_named(folder.tokens, roles)
    has_extra = "additional_special_tokens" in folder.config
    defaults = [] if has_extra else [added_token_of(extra, name) for extra in pipeline.extra]
    tokens += _without(tokens, [*roles.values(), *(folder.extra or defaults)])
    assigned = assign_ids(tokens, vocabulary, source)
    ids = vocabulary | {token["content"]: token["id"] for token in assigned}
    for role, token in roles.items():
        content = token["content"]
        if role not in folder.roles and ids[content] >= len(vocabulary):
            raise UserError(
                f"{source}: the vocabulary has no token {content!r}, the {role} token of {name}: "
                "name its own in tokenizer_config.json"
            )
    model = model | {"type": pipeline.model_type} | pipeline.model
    if pipeline.model_type == "WordPiece":
        unknown = roles["unk"]["content"]
        if "unk" not in folder.roles and model.get("unk_token", unknown) != unknown:
            assert definition is not None
            raise ignored_part(name, definition, f"unk_token {model['unk_token']!r}")
        if unknown not in vocabulary:
            raise UserError(f"{source}: the unknown token, {unknown!r}, is not in the vocabulary")
        model["unk_token"] = unknown
    first, last = (roles[role]["content"] for role in pipeline.ends)
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": assigned,
        **pipeline_steps(name, folder.config, definition),
        "post_processor": _post_processor(folder, pipeline, (first, ids[first]), (last, ids[last])),
        "model": model,
    }, {role: roles[role]["content"] for role in SPECIAL_TOKENS}


def _all_roles(folder: TokenizerFolder, pipeline: Pipeline) -> dict[str, AddedToken]:
    """Fill roles that the folder does not name with the default special tokens of the class."""
    by_content = {token["content"]: token for token, _ in folder.tokens}
    roles = {}
    for role in ROLES:
        token = folder.roles.get(role)
        if token is None and role in pipeline.roles:
            default = pipeline.roles[role]
            token = by_content.get(default) or added_token_of(default, name_of(role))
        if token is not None:
            is_text = isinstance(folder.config.values.get(name_of(role), ""), str)
            if pipeline.mask_strips_left and is_text and token["content"] not in by_content:
                token = token | {"lstrip": role == "mask"}
            roles[role] = token
    return roles | {name: token for name, token in folder.roles.items() if name not in ROLES}


def name_of(role: str) -> str:
    """Return the field of a role in `tokenizer_config.json`."""
    return f"{role}_token"


def _special_where_named(tokens: AddedTokens, roles: dict[str, AddedToken]) -> AddedTokens:
    named = {token["content"] for token in roles.values()}
    return [
        (token | {"special": token["special"] or token["content"] in named}, id)
        for token, id in tokens
    ]


def _without(known: AddedTokens, tokens: list[AddedToken]) -> AddedTokens:
    contents = {token["content"] for token, _ in known}
    return [(token, None) for token in tokens if token["content"] not in contents]


def _post_processor(
    folder: TokenizerFolder, pipeline: Pipeline, first: tuple[str, int], last: tuple[str, int]
) -> dict[str, Any]:
    """Build the post-processor of a class; refuse a `tokenizer.json` with another template."""
    definition = folder.definition
    template = (roberta_template if pipeline.double_sep else Template.bert)(first[1], last[1])
    if definition is not None:
        values = definition.values.get("post_processor")
        found = template_of(values, definition.source)
        if found is not None and pipeline.keeps_template:
            assert isinstance(values, dict)
            return values
        if found is not None:
            is_named = all(role in folder.roles for role in pipeline.ends)
            if _shape(found, not is_named) != _shape(template, not is_named):
                raise ignored_part(folder.tokenizer_class, definition, "another post_processor")
    kind = "RobertaProcessing" if pipeline.double_sep else "BertProcessing"
    processor: dict[str, Any] = {"type": kind, "sep": [*last], "cls": [*first]}
    if pipeline.double_sep:
        trims = {"WordPiece": True, "Unigram": False}
        setting = folder.config.flag("trim_offsets", True)
        processor["trim_offsets"] = trims.get(pipeline.model_type, setting)
        processor["add_prefix_space"] = folder.config.flag("add_prefix_space", False)
    return processor


def _shape(template: Template, with_ids: bool) -> list[list[TemplatePart | str | int]]:
    """Return a template without type ids, and without token ids unless `with_ids`."""
    return [
        [part if with_ids or isinstance(part, str) else 0 for part, _ in parts]
        for parts in (template.single, template.pair)
    ]


def _class_of_files(folder: TokenizerFolder) -> str:
    """Find the class of a folder that has only a vocabulary.

    Raises:
        UserError: the folder has no vocabulary, or no file says how to read it.
    """
    path, name = folder.path, folder.tokenizer_class
    has_vocab = (path / "vocab.txt").is_file()
    if has_vocab and not name and not folder.model_type:
        return "BertTokenizer"
    needed = {"WordPiece": ("vocab.txt",), "BPE": ("vocab.json", "merges.txt")}
    if name in PIPELINES:
        files = needed.get(PIPELINES[name].model_type, ())
        if files and all((path / file).is_file() for file in files):
            return name
    elif has_vocab:
        if name in READ_UNCHANGED:
            reader = f"tokenizer_class {name}" if name else f"model_type {folder.model_type}"
        else:
            reader = f"tokenizer_class {name}"
        raise UserError(
            f"{path}: {reader} does not define how to read vocab.txt: open it with transformers' "
            "AutoTokenizer and write a tokenizer.json with save_pretrained"
        )
    for file in SOURCES:
        if (path / file).is_file():
            raise UserError(
                f"{path} has {file}, but no tokenizer.json: open it with transformers' "
                "AutoTokenizer and write one with save_pretrained"
            )
    raise UserError(
        f"{path} has no tokenizer: looked for tokenizer.model, tokenizer.json and vocab.txt"
    )


def _model_of_files(path: Path, model_type: str) -> tuple[dict[str, Any], object]:
    if model_type == "WordPiece":
        file = path / "vocab.txt"
        return {"vocab": _read_vocab_txt(file)}, file
    file = path / "vocab.json"
    vocab = vocabulary_of(Fields({"model": {"vocab": read_json(file)}}, file))
    lines = _lines(path / "merges.txt")
    merges = [line.split(" ") for line in lines if line and not line.startswith("#version")]
    for number, merge in enumerate(merges, 1):
        if len(merge) != 2:
            raise UserError(f"{path / 'merges.txt'}, merge {number}: not two pieces")
    return {"vocab": vocab, "merges": merges}, file


def _lines(path: Path) -> list[str]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text (byte {error.start}): fetch it again") from None
    return [line.removesuffix("\r") for line in text.removesuffix("\n").split("\n")]


def _read_vocab_txt(path: Path) -> dict[str, int]:
    vocabulary: dict[str, int] = {}
    for number, line in enumerate(_lines(path)):
        token = line.rstrip() or line
        if token in vocabulary:
            raise UserError(
                f"{path}, line {number + 1}: {token!r} is already in line {vocabulary[token] + 1}"
            )
        vocabulary[token] = number
    return vocabulary

"""Load the tokenizer of a folder.

`WordPiece` loads exactly BERT's pipeline, `SentencePiece` the SentencePiece models that are trained
here, and `HuggingFace` everything else.
"""

from pathlib import Path
from typing import Any

from plainformer.base import Fields, UserError, find_folder, read_json_list
from plainformer.tokenizer.base import SPECIAL_TOKENS, Tokenizer
from plainformer.tokenizer.definition import Roles, definition_of, vocabulary_of
from plainformer.tokenizer.encoding import Template
from plainformer.tokenizer.folder import FLAGS, TokenizerFolder, read_folder
from plainformer.tokenizer.huggingface import HuggingFace
from plainformer.tokenizer.pipelines import template_of
from plainformer.tokenizer.sentence_piece import MODEL_FILE, SentencePiece, is_ours
from plainformer.tokenizer.wordpiece import DECODER, LONGEST_WORD, PREFIX, WordPiece


def load_tokenizer(folder: str | Path) -> Tokenizer:
    """Load the tokenizer of a folder (or a model's name) that was saved here or by Hugging Face.

    Raises:
        UserError: the folder or a file is missing, or a file is damaged or not supported.
    """
    path = find_folder(folder)
    files = read_folder(path)
    model = path / MODEL_FILE
    if model.is_file() and (is_ours(model.read_bytes()) or files.definition is None):
        tokenizer: Tokenizer = _sentence_piece(model, files)
    else:
        tokenizer = _from_definition(files)
    tokenizer.max_length = files.max_length
    tokenizer.truncation_side = files.side("truncation_side", "truncation")
    tokenizer.padding_side = files.side("padding_side", "padding")
    tokenizer.clean_up_spaces = _cleans_up(files.config, tokenizer)
    inputs = files.config.texts("model_input_names", None)
    if inputs is not None and "token_type_ids" not in inputs:
        tokenizer.drop_token_types()
    return tokenizer.without_special_tokens() if _is_of_static_vectors(path) else tokenizer


def _is_of_static_vectors(path: Path) -> bool:
    """Tell whether modules.json names a StaticEmbedding in this folder, or the folder's name does.

    It reads texts without special tokens, whatever `tokenizer.json` says.
    """
    modules = path / "modules.json"
    if not modules.is_file():
        return path.name == "0_StaticEmbedding"
    first = Fields(next(iter(read_json_list(modules)), {}), modules)
    return first.text("type", "").endswith(".StaticEmbedding") and path / first.text("path") == path


def _cleans_up(config: Fields, tokenizer: Tokenizer) -> bool:
    """Tell whether decoding removes spaces before punctuation; BPE by default does not."""
    name = "clean_up_tokenization_spaces"
    if not config.flag(name, False):
        return False
    is_bpe = tokenizer.definition()["model"]["type"] == "BPE"
    return not is_bpe or config.flag(f"{name}_for_bpe_even_though_it_will_corrupt_output", False)


def _from_definition(files: TokenizerFolder) -> WordPiece | HuggingFace:
    definition, roles = definition_of(files)
    source = files.definition.source if files.definition else files.path
    splits_special = files.config.flag("split_special_tokens", False)
    fields = Fields(definition, source)
    if not splits_special and _is_wordpiece(fields, roles):
        vocabulary = definition["model"]["vocab"]
        normalizer = fields.fields("normalizer")
        return WordPiece(
            sorted(vocabulary, key=vocabulary.__getitem__),
            lowercase=normalizer.flag("lowercase"),
            strip_accents=normalizer.flag("strip_accents", None),
            chinese_characters=normalizer.flag("handle_chinese_chars"),
            special_tokens=SPECIAL_TOKENS | roles,
            added=[added["content"] for added in definition["added_tokens"]],
        )
    config = {"tokenizer_class": files.tokenizer_class or "PreTrainedTokenizerFast"}
    try:
        return HuggingFace(
            definition,
            config=dict(files.config.values) | config,
            special_tokens=roles,
        )
    except UserError as error:
        raise UserError(f"{source}: {error}") from None


def _is_wordpiece(definition: Fields, roles: Roles) -> bool:
    """Tell whether a `tokenizer.json` is BERT's pipeline, and nothing else."""
    model, normalizer = definition.fields("model"), definition.fields("normalizer")
    if model.values.get("type") != "WordPiece":
        return False
    vocabulary = vocabulary_of(definition)
    named = {role: vocabulary.get(token) for role, token in (SPECIAL_TOKENS | roles).items()}
    template = template_of(definition.values.get("post_processor"), definition.source)
    return (
        None not in named.values()
        and sorted(vocabulary.values()) == list(range(len(vocabulary)))
        and isinstance(model.values["vocab"], dict)
        and model.values.get("continuing_subword_prefix") == PREFIX
        and model.values.get("max_input_chars_per_word") == LONGEST_WORD
        and model.values.get("unk_token") == (SPECIAL_TOKENS | roles)["unk"]
        and normalizer.values.get("type") == "BertNormalizer"
        and normalizer.values.get("clean_text") is True
        and {"lowercase", "strip_accents", "handle_chinese_chars"} <= normalizer.values.keys()
        and template == Template.bert(named["cls"] or 0, named["sep"] or 0)
        and definition.fields("pre_tokenizer").values.get("type") == "BertPreTokenizer"
        and definition.values.get("decoder") == DECODER
        and all(_is_plain(added, vocabulary) for added in definition.items("added_tokens", []))
    )


def _is_plain(added: dict[str, Any], vocabulary: dict[str, int]) -> bool:
    flags = any(added[name] for name in (*FLAGS, "normalized"))
    return added["special"] and not flags and added["content"] in vocabulary


def _sentence_piece(model: Path, files: TokenizerFolder) -> SentencePiece:
    """Load a model that was trained here.

    Raises:
        UserError: another file of the folder contradicts it.
    """
    try:
        tokenizer = SentencePiece(model.read_bytes())
    except UserError as error:
        raise UserError(f"{model}: {error}") from None
    tokens = [*(token for token, _ in files.tokens), *files.roles.values(), *files.extra]
    stale = None
    if {token["content"] for token in tokens} - set(SPECIAL_TOKENS.values()):
        stale = "other files of the folder add tokens to it"
    elif any(
        token["content"] != SPECIAL_TOKENS.get(role, token["content"])
        for role, token in files.roles.items()
    ):
        stale = "tokenizer_config.json gives its special tokens other roles"
    elif files.definition is not None:
        pieces = {tokenizer.token(id): id for id in range(tokenizer.vocab_size)}
        if vocabulary_of(files.definition) != pieces:
            stale = "tokenizer.json has another vocabulary"
    if stale:
        raise UserError(f"{model}: {stale}: remove the wrong file")
    return tokenizer

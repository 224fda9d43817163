"""Rebuild the `tokenizer.json` of a tokenizer class of `transformers` from its vocabulary.

Given a class name (`BertTokenizer`), `transformers` 5 takes only the vocabulary from
`tokenizer.json` or `vocab.txt`, and rebuilds the other steps from `tokenizer_config.json`. This
module does the same, with one difference: a part of `tokenizer.json` that the class would silently
ignore (another normalizer, another template) is an error.

    BertTokenizer         WordPiece   [CLS] a [SEP] b [SEP]
    MPNetTokenizer        WordPiece   <s> a </s></s> b </s>
    RobertaTokenizer      BPE         <s> a </s></s> b </s>
    XLMRobertaTokenizer   unigram     <s> a </s></s> b </s>
    CamembertTokenizer    unigram     <s> a </s></s> b </s>
    AlbertTokenizer       unigram     [CLS] a [SEP] b [SEP]

`PreTrainedTokenizerFast` uses its `tokenizer.json` unchanged; any other class is an error.
"""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from plainformer.base import Fields, UserError
from plainformer.tokenizer.encoding import Template, TemplatePart

SPACE = "▁"
_BERT_ROLES = {"unk": "[UNK]", "sep": "[SEP]", "pad": "[PAD]", "cls": "[CLS]", "mask": "[MASK]"}
_ROBERTA_ROLES = {"bos": "<s>", "eos": "</s>", "unk": "<unk>", "sep": "</s>", "pad": "<pad>"}
_ROBERTA_ROLES |= {"cls": "<s>", "mask": "<mask>"}
_WORDPIECE = {"continuing_subword_prefix": "##", "max_input_chars_per_word": 100}
_BPE = {
    "dropout": None,
    "unk_token": None,
    "continuing_subword_prefix": "",
    "end_of_word_suffix": "",
    "fuse_unk": False,
    "byte_fallback": False,
    "ignore_merges": False,
}


def _bert_normalizer(config: Fields) -> dict[str, Any]:
    return {
        "type": "BertNormalizer",
        "clean_text": True,
        "handle_chinese_chars": config.flag("tokenize_chinese_chars", True),
        "strip_accents": config.flag("strip_accents", None),
        "lowercase": config.flag("do_lower_case", True),
    }


def _byte_level(config: Fields) -> dict[str, Any]:
    prefixed = config.flag("add_prefix_space", False)
    return {
        "type": "ByteLevel",
        "add_prefix_space": prefixed,
        "trim_offsets": True,
        "use_regex": True,
    }


def _metaspace(config: Fields) -> dict[str, Any]:
    scheme = "always" if config.flag("add_prefix_space", True) else "never"
    return {"type": "Metaspace", "replacement": SPACE, "prepend_scheme": scheme, "split": True}


def _by_white_space(config: Fields) -> dict[str, Any]:
    steps = [{"type": "WhitespaceSplit"}, _metaspace(config)]
    return {"type": "Sequence", "pretokenizers": steps}


def _replace(pattern: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": pattern}, "content": '"'}


def _albert_normalizer(config: Fields) -> dict[str, Any]:
    steps = [_replace("``"), _replace("''")]
    if not config.flag("keep_accents", False):
        steps += [{"type": "NFKD"}, {"type": "StripAccents"}]
    if config.flag("do_lower_case", True):
        steps += [{"type": "Lowercase"}]
    return {"type": "Sequence", "normalizers": steps}


Step = Callable[[Fields], dict[str, Any] | None]


@dataclass(frozen=True, kw_only=True)
class Pipeline:
    """The steps of a tokenizer class, as functions of `tokenizer_config.json`.

    `normalizers` and `pre_tokenizers` are the types of steps that a `tokenizer.json` of this class
    may contain. `model` are required settings of its model. `double_sep` selects RoBERTa's
    template, with `</s></s>` between the texts of a pair. `ends` are the roles of the first and the
    last token. `extra` are the default special tokens without a role.
    """

    model_type: str
    roles: dict[str, str]
    normalizer: Step
    normalizers: tuple[str, ...]
    pre_tokenizer: Step
    pre_tokenizers: tuple[str, ...]
    decoder: Step
    model: dict[str, Any] = field(default_factory=dict)
    double_sep: bool = False
    ends: tuple[str, str] = ("cls", "sep")
    keeps_template: bool = False
    mask_strips_left: bool = False
    extra: tuple[str, ...] = ()


def _wordpiece_decoder(_: Fields) -> dict[str, Any]:
    return {"type": "WordPiece", "prefix": "##", "cleanup": True}


_BERT = Pipeline(
    model_type="WordPiece",
    roles=_BERT_ROLES,
    normalizer=_bert_normalizer,
    normalizers=("BertNormalizer",),
    pre_tokenizer=lambda _: {"type": "BertPreTokenizer"},
    pre_tokenizers=("BertPreTokenizer",),
    decoder=_wordpiece_decoder,
    model=_WORDPIECE,
)
_XLM_ROBERTA = Pipeline(
    model_type="Unigram",
    roles=_ROBERTA_ROLES,
    normalizer=lambda _: None,
    normalizers=("Precompiled", "Replace", "Strip"),
    pre_tokenizer=_by_white_space,
    pre_tokenizers=("WhitespaceSplit", "Metaspace"),
    decoder=_metaspace,
    model={"unk_id": 3, "byte_fallback": False},
    double_sep=True,
    ends=("bos", "eos"),
)
PIPELINES = {
    "BertTokenizer": _BERT,
    "MPNetTokenizer": Pipeline(
        model_type="WordPiece",
        roles=_ROBERTA_ROLES | {"unk": "[UNK]"},
        normalizer=_bert_normalizer,
        normalizers=_BERT.normalizers,
        pre_tokenizer=_BERT.pre_tokenizer,
        pre_tokenizers=_BERT.pre_tokenizers,
        decoder=_wordpiece_decoder,
        model=_WORDPIECE,
        double_sep=True,
        mask_strips_left=True,
    ),
    "RobertaTokenizer": Pipeline(
        model_type="BPE",
        roles=_ROBERTA_ROLES,
        normalizer=lambda _: None,
        normalizers=(),
        pre_tokenizer=_byte_level,
        pre_tokenizers=("ByteLevel",),
        decoder=lambda _: {"type": "ByteLevel", "add_prefix_space": True, "trim_offsets": True},
        model=_BPE,
        double_sep=True,
    ),
    "XLMRobertaTokenizer": _XLM_ROBERTA,
    "CamembertTokenizer": replace(
        _XLM_ROBERTA,
        mask_strips_left=True,
        extra=("<s>NOTUSED", "</s>NOTUSED", "<unk>NOTUSED"),
    ),
    "AlbertTokenizer": Pipeline(
        model_type="Unigram",
        roles=_BERT_ROLES | {"unk": "<unk>", "pad": "<pad>", "bos": "[CLS]", "eos": "[SEP]"},
        normalizer=_albert_normalizer,
        normalizers=("Replace", "NFKD", "StripAccents", "Lowercase", "Precompiled", "Strip"),
        pre_tokenizer=_by_white_space,
        pre_tokenizers=("WhitespaceSplit", "Metaspace"),
        decoder=_metaspace,
        model={"unk_id": 1, "byte_fallback": False},
        keeps_template=True,
    ),
}
"""The tokenizer classes of the supported model families."""


def steps_of(part: Any, source: object) -> list[Fields]:
    """List the steps of a normalizer, pre-tokenizer or processor; flatten a `Sequence`."""
    if part is None:
        return []
    step = Fields(part, source)
    for name in ("normalizers", "pretokenizers", "processors"):
        if name in step:
            return [inner for item in step.items(name) for inner in steps_of(item, source)]
    return [step]


def template_of(processor: Any, source: object) -> Template | None:
    """Read the template of a `post_processor`; return None if it has none."""
    for step in steps_of(processor, source):
        match step.text("type", None):
            case "TemplateProcessing":
                special = step.fields("special_tokens")
                single, pair = (
                    tuple(
                        place
                        for part in step.items(name)
                        for place in _places(Fields(part, step.source), special)
                    )
                    for name in ("single", "pair")
                )
                return Template(single, pair)
            case "BertProcessing":
                return Template.bert(_id_of(step, "cls"), _id_of(step, "sep"))
            case "RobertaProcessing":
                return roberta_template(_id_of(step, "cls"), _id_of(step, "sep"))
    return None


def roberta_template(cls_id: int, sep_id: int) -> Template:
    """Build RoBERTa's template: `<s> a </s>` and `<s> a </s></s> b </s>`, all of type 0."""
    single: tuple[TemplatePart, ...] = ((cls_id, 0), ("a", 0), (sep_id, 0))
    return Template(single, (*single, (sep_id, 0), ("b", 0), (sep_id, 0)))


def _places(part: Fields, special: Fields) -> list[TemplatePart]:
    if "Sequence" in part:
        text = part.fields("Sequence")
        owner: Any = {"A": "a", "B": "b"}[text.choice("id", ("A", "B"))]
        return [(owner, text.whole("type_id", 0))]
    token = part.fields("SpecialToken")
    ids = special.fields(token.text("id")).items("ids")
    return [(_whole(id, special), token.whole("type_id", 0)) for id in ids]


def _id_of(step: Fields, name: str) -> int:
    pair = step.items(name)
    if len(pair) != 2:
        raise step.wrong(name, "a token with its id")
    return _whole(pair[1], step)


def _whole(id: Any, fields: Fields) -> int:
    return Fields({"id": id}, fields.source).whole("id")


def pipeline_steps(name: str, config: Fields, definition: Fields | None) -> dict[str, Any]:
    """Build normalizer, pre-tokenizer and decoder of a class; keep the file's character table.

    Raises:
        UserError: `tokenizer.json` has a step that the class would ignore.
    """
    pipeline = PIPELINES[name]
    normalizer, tables = pipeline.normalizer(config), []
    if definition is not None:
        steps = steps_of(definition.values.get("normalizer"), definition.source)
        tables = [dict(s.values) for s in steps if s.values.get("type") == "Precompiled"][:1]
        _refuse_other_steps(name, "normalizer", steps, pipeline.normalizers, definition)
        cuts = steps_of(definition.values.get("pre_tokenizer"), definition.source)
        _refuse_other_steps(name, "pre_tokenizer", cuts, pipeline.pre_tokenizers, definition)
    if tables:
        inner = normalizer["normalizers"] if normalizer else []
        steps_with_table = [*inner, *tables]
        normalizer = {"type": "Sequence", "normalizers": steps_with_table} if inner else tables[0]
    return {
        "normalizer": normalizer,
        "pre_tokenizer": pipeline.pre_tokenizer(config),
        "decoder": pipeline.decoder(config),
    }


_KNOWN_PATTERNS = ({"String": "``"}, {"String": "''"}, {"Regex": " {2,}"})
_FIXED = {"clean_text": True, "use_regex": True, "replacement": SPACE, "split": True}
"""The values of settings that no class reads from its config."""


def _refuse_other_steps(
    name: str, part: str, steps: list[Fields], allowed: tuple[str, ...], definition: Fields
) -> None:
    for step in steps:
        kind = step.text("type", None)
        if kind not in allowed or (
            kind == "Replace" and step.values.get("pattern") not in _KNOWN_PATTERNS
        ):
            raise ignored_part(name, definition, f"{part} {kind}")
        for setting, value in _FIXED.items():
            if step.values.get(setting, value) != value:
                raise ignored_part(
                    name, definition, f"{part} with {setting} {step.values[setting]!r}"
                )


def refuse_other_model(name: str, definition: Fields) -> None:
    """Check that the class reads the model in `tokenizer.json` as it is.

    Raises:
        UserError: the model has another type or another setting.
    """
    pipeline, model = PIPELINES[name], definition.fields("model")
    if model.text("type", pipeline.model_type) != pipeline.model_type:
        raise ignored_part(name, definition, f"a {model.text('type')} model")
    for setting, value in pipeline.model.items():
        found = model.values.get(setting)
        is_same = found is None or found == value or not (found or value)
        # The unknown token of BPE is never used: every byte is in the vocabulary.
        if not is_same and setting not in ("unk_token", "fuse_unk"):
            raise ignored_part(name, definition, f"a model with {setting} {found!r}")


def ignored_part(name: str, definition: Fields, part: str) -> UserError:
    """Return the error for a part of `tokenizer.json` that its class ignores."""
    return UserError(
        f"{definition.source} has {part}, which {name} ignores: to use the file as it is, "
        'write "tokenizer_class": "PreTrainedTokenizerFast" into tokenizer_config.json'
    )

"""Read and write the files of sentence-transformers that define how a text becomes one vector.

    modules.json                        Transformer, Pooling, then Dense and Normalize, in order
    sentence_bert_config.json           max_seq_length, do_lower_case
    1_Pooling/config.json               how the vectors of the tokens become one
    2_Dense/                            a linear layer and its activation: config.json, weights
    config_sentence_transformers.json   prompts, the similarity, how many numbers of a vector count

Static token vectors have one StaticEmbedding in place of Transformer and Pooling.

Files are read as version 6.2 reads them, with the keys of all earlier versions, and written with
keys that every version reads. Unsupported fields that would change a vector are a `UserError`.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeGuard, get_args

from safetensors import SafetensorError

from plainformer.base import (
    Fields,
    UserError,
    atomic_path,
    is_inside,
    read_json,
    read_json_list,
    write_json,
)
from plainformer.base.tensors import save_tensors
from plainformer.encoder.weights.family import Tensors
from plainformer.encoder.weights.folder import mapped
from plainformer.encoder.weights.sentence_layout import (
    ACTIVATIONS,
    MODES,
    Dense,
    Mode,
    Normalize,
    SentenceLayout,
    Similarity,
)

MODULES = "modules.json"
SETTINGS = "config_sentence_transformers.json"
READERS = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
"""Config files of the Transformer module; the first that exists is read."""
WEIGHTS = "model.safetensors"

VECTOR = "sentence_embedding"
"""The name of the vector that one module gives to the next."""
TEXT = {"text": {"method": "forward", "method_output_name": "last_hidden_state"}}
"""The `modality_config` that sentence-transformers 6.2 writes for a text-only module."""


def read_layout(folder: Path) -> SentenceLayout | None:
    """Read the layout of a sentence-transformers folder; None without modules.json.

    Raises:
        UserError: names the file and the field that is damaged or not supported.
    """
    if not (folder / MODULES).is_file():
        return None
    model = _model(_settings(folder / SETTINGS, needed=False))
    modules = _modules(folder)
    kinds, places = [_kind(module) for module in modules], [_inside(module) for module in modules]
    is_static = kinds[:1] == ["StaticEmbedding"]
    if not is_static and kinds[:2] != ["Transformer", "Pooling"]:
        found = ", ".join(kinds) or "nothing"
        raise UserError(
            f"{folder / MODULES}: {found} is not supported: Transformer and Pooling come first, "
            "once each, or StaticEmbedding"
        )
    if not (folder / places[0]).is_dir():
        raise UserError(f"{folder / MODULES}: there is no folder {places[0]!r:.60}")
    layers: list[Dense | Normalize] = []
    first = 1 if is_static else 2
    for kind, place in zip(kinds[first:], places[first:], strict=True):
        if kind not in ("Dense", "Normalize"):
            raise UserError(f"{folder / MODULES}: a second {kind} is not supported")
        settings = _settings(folder / place / "config.json", needed=kind == "Dense")
        layers.append(_dense(settings) if kind == "Dense" else _normalize(settings))
    after: dict[str, Any] = {"layers": tuple(layers), "folders": tuple(places[first:])}
    if is_static:
        return SentenceLayout(encoder=places[0], is_static=True, **after, **model)
    pooling, include_prompt = _pooling(_settings(folder / places[1] / "config.json"))
    readers = [folder / places[0] / name for name in READERS]
    reader = next((path for path in readers if path.is_file()), readers[0])
    max_length, lower_case = _transformer(_settings(reader, needed=False))
    return SentenceLayout(
        encoder=places[0],
        max_length=max_length,
        lower_case=lower_case,
        pooling=pooling,
        include_prompt=include_prompt,
        **after,
        **model,
    )


def module_folders(folder: Path) -> list[str]:
    """List the folder of every module, of any type; "" is the model's own.

    Raises:
        UserError: modules.json is damaged, or names a folder outside.
    """
    if not (folder / MODULES).is_file():
        return [""]
    return [_inside(module) for module in _modules(folder)] or [""]


def _modules(folder: Path) -> list[Fields]:
    """Read the entries of modules.json."""
    path = folder / MODULES
    return [Fields(entry, f"{path}: module {n}") for n, entry in enumerate(read_json_list(path))]


def _kind(module: Fields) -> str:
    """Return the class name of a module; raise `UserError` for an unsupported one."""
    path = module.text("type")
    kind = path.rpartition(".")[2]
    supported = ("Transformer", "Pooling", "StaticEmbedding", "Dense", "Normalize")
    if not path.startswith("sentence_transformers.") or kind not in supported:
        raise UserError(
            f"{module.source}: type {path!r} is not supported: {', '.join(supported)} are"
        )
    return kind


def _inside(module: Fields) -> str:
    """Return the folder of a module; raise `UserError` for one outside the model's folder."""
    place: str = module.text("path")
    if place not in ("", ".") and not is_inside(place):
        raise UserError(f"{module.source}: path {place!r:.60} leads out of the folder")
    return place


def _settings(path: Path, needed: bool = True) -> Fields:
    """Read the object in a file; an empty one where it is missing and not `needed`."""
    return Fields(read_json(path) if needed or path.is_file() else {}, path)


def _known(settings: Fields, names: Iterable[str]) -> None:
    """Raise `UserError` for an unknown field: it could change the vectors."""
    if unknown := sorted(settings.values.keys() - set(names)):
        raise UserError(f"{settings.source}: {unknown[0]} is not supported")


def _only(settings: Fields, **values: Any) -> None:
    """Raise `UserError` for a field with another value than the one supported."""
    for name, value in values.items():
        if name in settings and settings.values[name] != value:
            raise UserError(
                f"{settings.source}: {name} {settings.values[name]!r:.60} is not supported: "
                f"only {value!r} is"
            )


def _transformer(settings: Fields) -> tuple[int | None, bool]:
    """Read the longest text in tokens, and whether text is lower-cased."""
    parts = ("model", "tokenizer", "processor", "config")
    only: dict[str, Any] = {
        **{f"{part}_{kind}": {} for part in parts for kind in ("args", "kwargs")},
        "transformer_task": "feature-extraction",
        "modality_config": TEXT,
        "module_output_name": "token_embeddings",
        "processing_kwargs": {},
    }
    only |= dict.fromkeys(
        ("query_length", "document_length", "query_expansion", "tokenizer_name_or_path")
    )
    _known(settings, ("max_seq_length", "do_lower_case", "unpad_inputs", *only))
    _only(settings, **only)
    max_length = settings.whole("max_seq_length", None, least=1)
    return max_length, settings.flag("do_lower_case", False)


def _is_mode(name: str) -> TypeGuard[Mode]:
    """Tell whether this is a supported mode of pooling."""
    return name in MODES


def _pooling(settings: Fields) -> tuple[tuple[Mode, ...], bool]:
    """Read the modes of pooling, and whether the tokens of a prompt are pooled, too.

    Keys of all versions are read: a flag for each mode, or the names under `pooling_mode`.
    """
    sizes = ("embedding_dimension", "word_embedding_dimension")
    _known(settings, (*sizes, "pooling_mode", "include_prompt", *MODES.values()))
    names: list[str] = [mode for mode, key in MODES.items() if settings.flag(key, False)]
    if "pooling_mode" in settings:
        listed = isinstance(settings.values["pooling_mode"], list)
        mode = settings.texts("pooling_mode") if listed else [settings.text("pooling_mode")]
        names = list(mode)
    modes = [name for name in names or ["mean"] if _is_mode(name)]
    if len(modes) < len(names):
        raise UserError(
            f"{settings.source}: pooling_mode {settings.values['pooling_mode']!r:.60} is not "
            f"supported: {', '.join(MODES)} are"
        )
    return tuple(modes), settings.flag("include_prompt", True)


def _dense(settings: Fields) -> Dense:
    """Read the config of a Dense layer."""
    names = ("in_features", "out_features", "bias", "activation_function", "use_residual")
    _known(settings, (*names, "module_input_name", "module_output_name"))
    _only(settings, module_input_name=VECTOR, module_output_name=VECTOR)
    activation = settings.text("activation_function", "torch.nn.modules.activation.Tanh")
    kind = activation.rpartition(".")[2]
    if not activation.startswith("torch.nn.") or kind not in ACTIVATIONS:
        raise UserError(
            f"{settings.source}: activation_function {activation!r:.60} is not supported: "
            f"{', '.join(ACTIVATIONS)} of torch.nn are"
        )
    return Dense(
        in_features=settings.whole("in_features", least=1, most=2**20),
        out_features=settings.whole("out_features", least=1, most=2**20),
        bias=settings.flag("bias", True),
        activation=kind,
        use_residual=settings.flag("use_residual", False),
    )


def _normalize(settings: Fields) -> Normalize:
    """Read the config of a Normalize layer, which has no settings of its own."""
    _only(settings, module_input_name=VECTOR, module_output_name=VECTOR)
    return Normalize()


def _model(settings: Fields) -> dict[str, Any]:
    """Read the settings of the whole model: prompts, similarity, size of the vectors."""
    _only(settings, model_type="SentenceTransformer")
    given = settings.fields("prompts")
    # These two prompts always exist; by default they are empty.
    prompts = {name: given.text(name, "") for name in {"query", "document"} | given.values.keys()}
    default = settings.text("default_prompt_name", None)
    if default is not None and default not in prompts:
        raise UserError(
            f"{settings.source}: default_prompt_name {default!r:.60} is not among the prompts"
        )
    return {
        "prompts": {name: prompts[name] for name in sorted(prompts)},
        "default_prompt": default,
        "similarity": settings.choice("similarity_fn_name", get_args(Similarity), "cosine"),
        "truncate_dim": settings.whole("truncate_dim", None, least=1),
    }


def read_weights(folder: Path, layout: SentenceLayout) -> Tensors:
    """Read the tensors of every Dense: `linear.weight` of layer 0 is `0.linear.weight`.

    Raises:
        UserError: they are missing, not safetensors, damaged, or of other layers.
    """
    tensors: Tensors = {}
    for number, (layer, place) in enumerate(zip(layout.layers, layout.folders, strict=True)):
        if isinstance(layer, Normalize):
            continue
        path = folder / place / WEIGHTS
        if not path.is_file():
            raise UserError(
                f"{path} is missing (plainformer convert makes it of a pytorch_model.bin)"
            )
        found, expected = mapped(path), layer.shapes
        for name in sorted(found.keys() ^ expected.keys()):
            raise UserError(f"{path}: {name} is {'missing' if name in expected else 'unexpected'}")
        for name, tensor in found.items():
            if tuple(tensor.shape) != expected[name] or not tensor.is_floating_point():
                raise UserError(
                    f"{path}: {name} has dtype {tensor.dtype} and shape {list(tensor.shape)}, "
                    f"not numbers of shape {list(expected[name])} as its config.json says"
                )
            if not tensor.isfinite().all():
                raise UserError(f"{path}: {name} holds NaN or infinite numbers: take another copy")
            tensors[f"{number}.{name}"] = tensor
    return tensors


def write_layout(folder: Path, layout: SentenceLayout, size: int, tensors: Tensors) -> None:
    """Write the files that `read_layout` and `read_weights` read, for an encoder of this `size`.

    Raises:
        UserError: the folder cannot be written.
    """
    try:
        _write(folder, layout, size, tensors)
    except (OSError, SafetensorError) as error:
        raise UserError(f"cannot write the model to {folder}: {error}") from None


def _write(folder: Path, layout: SentenceLayout, size: int, tensors: Tensors) -> None:
    """Write the layers, the pooling, the limits of the text, the prompts and modules.json."""
    first = ["StaticEmbedding"] if layout.is_static else ["Transformer", "Pooling"]
    modules = [*first, *(type(layer).__name__ for layer in layout.layers)]
    places = ["", *(f"{number}_{kind}" for number, kind in enumerate(modules) if number)]
    for number, (layer, place) in enumerate(zip(layout.layers, places[len(first) :], strict=True)):
        names = {"module_input_name": VECTOR, "module_output_name": VECTOR}
        if isinstance(layer, Dense):
            path = f"torch.nn.modules.{ACTIVATIONS[layer.activation]}.{layer.activation}"
            own = {
                "in_features": layer.in_features,
                "out_features": layer.out_features,
                "bias": layer.bias,
                "activation_function": path,
            }
            residual = {**names, "use_residual": True} if layer.use_residual else {}
            write_json(folder / place / "config.json", own | residual)
            weights = {
                name.removeprefix(f"{number}."): tensor.contiguous()
                for name, tensor in tensors.items()
                if name.startswith(f"{number}.")
            }
            with atomic_path(folder / place / WEIGHTS) as temporary:
                save_tensors(weights, temporary)
        else:
            write_json(folder / place / "config.json", names)
    settings: dict[str, Any] = {
        "model_type": "SentenceTransformer",
        "prompts": dict(layout.prompts),
        "default_prompt_name": layout.default_prompt,
        "similarity_fn_name": layout.similarity,
    }
    if layout.truncate_dim is not None:
        settings["truncate_dim"] = layout.truncate_dim
    if layout.is_static:
        settings |= {"normalize": Normalize() in layout.layers, "max_length": None}  # for model2vec
    else:
        write_json(folder / places[1] / "config.json", _pooling_config(layout, size))
        reader = {"max_seq_length": layout.max_length, "do_lower_case": layout.lower_case}
        write_json(folder / READERS[0], reader)
    write_json(folder / SETTINGS, settings)
    entries = [
        {
            "idx": number,
            "name": str(number),
            "path": place,
            "type": f"sentence_transformers.models.{kind}",
        }
        for number, (kind, place) in enumerate(zip(modules, places, strict=True))
    ]
    write_json(folder / MODULES, entries)


def _pooling_config(layout: SentenceLayout, size: int) -> dict[str, Any]:
    """Build the pooling config with the keys of all versions, in the order of the modes."""
    if list(layout.pooling) == [mode for mode in MODES if mode in layout.pooling]:
        flags = {key: mode in layout.pooling for mode, key in MODES.items()}
        return {
            "word_embedding_dimension": size,
            **flags,
            "include_prompt": layout.include_prompt,
        }
    return {
        "embedding_dimension": size,
        "pooling_mode": list(layout.pooling),
        "include_prompt": layout.include_prompt,
    }

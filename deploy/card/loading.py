"""Tell which libraries open a model folder, and the lines of Python that open it.

`transformers` opens a folder whose family and head it has, unless its weights are in int8 (see
`encoder.weights`), sentence-transformers that of a sentence encoder, and `peft` the adapters of
some methods.
"""

from dataclasses import dataclass

from plainformer.base import UserError
from plainformer.deploy.card.facts import Facts
from plainformer.deploy.card.tasks import WORDINGS
from plainformer.encoder.weights import Adapter, family_of, is_adapter, named_architectures
from plainformer.encoder.weights.native import NATIVE
from plainformer.encoder.weights.sentence import MODULES
from plainformer.encoder.weights.storage import FIELD

REPOSITORY = "USER/NAME"
"""Stands in a card for the place of the model, until `plainformer push` knows it."""
WEIGHTS = (
    *("model.safetensors", "model_int8.safetensors", "model.safetensors.index.json"),
    "adapter_model.safetensors",
)
"""The files of weights; a model folder has one of them."""
EXPORTED = "onnx/model.onnx"
OF_PEFT = ("LORA", "ADALORA", "IA3")
"""The methods of adapters that `peft` opens."""


@dataclass(frozen=True)
class Loading:
    """One way to open a folder."""

    library: str
    """The hub's name of the library."""
    package: str
    """The packages that pip installs to run the code."""
    code: str


def loadings(facts: Facts) -> list[Loading]:
    """List the ways to open the model, with this project first."""
    found: list[Loading | None] = []
    if any((facts.folder / name).is_file() for name in WEIGHTS):
        found += [own_loading(facts), other_loading(facts)]
    if (facts.folder / EXPORTED).is_file():
        code = (
            "import onnxruntime\n"
            "from huggingface_hub import hf_hub_download\n\n"
            f'path = hf_hub_download("{REPOSITORY}", "{EXPORTED}")\n'
            "session = onnxruntime.InferenceSession(path)\n"
            "print([value.name for value in session.get_inputs()])"
        )
        found.append(Loading("onnx", "onnxruntime huggingface_hub", code))
    return [one for one in found if one is not None]


def library_of(facts: Facts) -> str:
    """Return the hub's name of the library that most readers would open the model with."""
    libraries = [one.library for one in loadings(facts)]
    others = (library for library in libraries[1:] if library != "onnx")
    return next(others, libraries[0] if libraries else "plainformer")


def own_loading(facts: Facts) -> Loading:
    """Return the lines that open the model with this project."""
    if facts.task_name is not None:
        code = (
            "from plainformer.finetune import Predictor\n\n"
            f'predictor = Predictor.load("{REPOSITORY}")  # or the path of this folder\n'
            f"for prediction in predictor([{WORDINGS[facts.task_name].example}]):\n"
            "    print(prediction.to_json())"
        )
    else:
        code = (
            "from plainformer.encoder import Encoder\n"
            "from plainformer.tokenizer import load_tokenizer\n\n"
            f'model = Encoder.from_pretrained("{REPOSITORY}")  # or the path of this folder\n'
            f'tokenizer = load_tokenizer("{REPOSITORY}")\n'
            'print(model(**tokenizer.batch(["A text."])).last_hidden_state.shape)'
        )
    return Loading("plainformer", "'plainformer[hub]'", code)


def other_loading(facts: Facts) -> Loading | None:
    """Return the lines that open the model in another library; None where none is known to."""
    folder = facts.folder
    if is_adapter(folder):
        return peft_loading(facts)
    is_encoder = facts.shape is not None
    if is_encoder and (family_of(facts.config) is NATIVE or facts.config.get(FIELD)):
        return None
    if (folder / MODULES).is_file():
        code = (
            "from sentence_transformers import SentenceTransformer\n\n"
            f'model = SentenceTransformer("{REPOSITORY}")\n'
            'print(model.encode(["A text."]).shape)'
        )
        return Loading("sentence-transformers", "sentence-transformers", code)
    auto = auto_class(facts)
    code = (
        f"from transformers import {auto}, AutoTokenizer\n\n"
        f'tokenizer = AutoTokenizer.from_pretrained("{REPOSITORY}")\n'
        f'model = {auto}.from_pretrained("{REPOSITORY}")\n'
    )
    if auto == "AutoModelForMultipleChoice":
        code += (
            'pairs = [["A text.", "An option."], ["A text.", "Another one."]]\n'
            'inputs = tokenizer(pairs, padding=True, return_tensors="pt")\n'
            "print(model(**{name: rows[None] for name, rows in inputs.items()}).logits)"
        )
    else:
        output = {"AutoModel": ".last_hidden_state.shape", "AutoModelForQuestionAnswering": ""}
        last = output.get(auto, "" if auto.endswith("PreTraining") else ".logits")
        code += f'print(model(**tokenizer("A text.", return_tensors="pt")){last})'
    return Loading("transformers", "transformers", code)


def peft_loading(facts: Facts) -> Loading | None:
    """Return the lines that open an adapter in `peft`, where its base model is on the hub."""
    adapter = Adapter.of(facts.folder)
    if facts.base is None or adapter.settings.text("peft_type", "") not in OF_PEFT:
        return None
    auto = auto_class(facts)
    labels = f", num_labels={len(facts.config['id2label'])}" if "id2label" in facts.config else ""
    code = (
        "from peft import PeftModel\n"
        f"from transformers import {auto}\n\n"
        f'base = {auto}.from_pretrained("{facts.base}"{labels})\n'
        f'model = PeftModel.from_pretrained(base, "{REPOSITORY}")'
    )
    return Loading("peft", "peft transformers", code)


def auto_class(facts: Facts) -> str:
    """Return the class of `transformers` that chooses the model's own: AutoModelForMaskedLM."""
    family = family_of(facts.config)
    named = [*named_architectures(facts.config), family.architectures["Encoder"]][0]
    head = named.removeprefix(family.class_prefix)
    return "AutoModel" if head == "Model" else f"AutoModel{head}"


def check_base(facts: Facts) -> None:
    """Raise `UserError` for an adapter whose base model is not known to be on the hub."""
    if is_adapter(facts.folder) and facts.base is None:
        raise UserError(
            f"{facts.folder} is an adapter of a model that is in a folder, where nobody else finds "
            f"it: plainformer convert {facts.folder} --out DIR merges both into a whole model"
        )

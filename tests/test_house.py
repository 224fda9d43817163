"""Check the structure: which package may import which, and what no file may do."""

import ast
import importlib
import os
import re
import sys
import tomllib
from itertools import product
from pathlib import Path
from types import FrameType

import pytest

from plainformer.encoder import Encoder, use_backend
from tests.encoder.tools import bert, modern, padded

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "plainformer"
GROUND = {"encoder", "tokenizer", "corpora", "training"}
STAGES = {"pretrain", "finetune"}
MAY_IMPORT = {
    "base": set(),
    "runs": {"base"},
    **{package: {"base"} for package in sorted(GROUND)},
    **{package: {"base"} | GROUND for package in sorted(STAGES)},
    "explain": {"base"} | GROUND | STAGES,
    "deploy": {"base", "unparse"} | GROUND | STAGES,
}
"""The packages within `plainformer`, and which others each may import."""
BARE = {*MAY_IMPORT, "commands"}


def sources() -> list[Path]:
    """Every source file of the package, through the links to its large folders."""
    return [
        Path(folder) / name
        for folder, _, names in os.walk(PACKAGE, followlinks=True)
        for name in names
        if name.endswith(".py")
    ]


def imports(file: Path) -> set[str]:
    """The modules that a file imports, anywhere in it: `plainformer.encoder.ops`."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
    return names


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_no_arrow_points_up(room: str) -> None:
    files = [file for file in sources() if file.relative_to(PACKAGE).parts[0] == room]
    assert files
    for file in files:
        parts = [name.split(".") for name in imports(file)]
        others = {name[1] for name in parts if name[0] == "plainformer"} - {room, "__version__"}
        assert others <= MAY_IMPORT[room], f"{file.relative_to(PACKAGE)} imports {others}"


def test_everything_is_imported_by_its_full_name() -> None:
    """`import encoder` works in the checkout alone, and there it is a second copy."""
    checked = [*sources(), *(ROOT / "tests").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py")]
    for file in checked:
        bare = {name for name in imports(file) if name.partition(".")[0] in BARE}
        assert not bare, f"{file.relative_to(ROOT)} imports {bare}: begin with plainformer."


CHAPTERS = sorted((ROOT / "walkthrough").glob("[0-9]*.py"))


@pytest.mark.parametrize("chapter", CHAPTERS, ids=[chapter.stem for chapter in CHAPTERS])
def test_a_chapter_imports_what_its_readers_have(chapter: Path) -> None:
    """The public names of the packages, `guide`, the standard library, declared dependencies."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]  # those that `make site` installs
    listed = [*project["dependencies"], *extras["compare"], *extras["dev"]]
    declared = {re.split(r"[^\w-]", name)[0] for name in listed} | {"guide"}
    for node in ast.walk(ast.parse(chapter.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        else:
            continue
        for module in modules:
            first, *inner = module.split(".")
            if first != "plainformer":
                assert first in declared | sys.stdlib_module_names, f"{module} is not declared"
            else:
                assert isinstance(node, ast.ImportFrom) and inner, f"import names from {module}"
                names = {f"{module}.{alias.name}" for alias in node.names}
                exported = getattr(importlib.import_module(module), "__all__", [])
                public = {f"{module}.{name}" for name in exported}
                forms = {f"plainformer.encoder.ops.{form}" for form in ("plain", "fused")}
                private = names - public - forms  # the forms of an operation are to be read
                assert not private, f"{private}: not exported"


PLAIN = ["benchmarks", "corpora", "deploy", "encoder", "explain", "finetune"]
PLAIN += ["plainformer", "pretrain", "tokenizer", "training", "walkthrough"]
"""The folders whose docstrings are plain: the package, the benchmarks, and the walkthrough."""
NOT_A_VERB = {
    *("a", "all", "an", "and", "both", "for", "from", "how", "it", "its", "nobody", "nothing"),
    *("of", "one", "so", "that", "the", "these", "those", "what", "where", "whether", "which"),
    *("who", "whose", "why"),
}


@pytest.mark.parametrize("folder", PLAIN)
def test_the_docstring_of_a_function_begins_with_a_verb(folder: str) -> None:
    """Or with a formula: only the words that begin a riddle are refused."""
    functions = ast.FunctionDef | ast.AsyncFunctionDef
    for file in sorted((ROOT / folder).rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, functions) and (text := ast.get_docstring(node)):
                opener = re.split(r"\W", text, maxsplit=1)[0].lower()
                assert opener not in NOT_A_VERB, f"{file}:{node.lineno}: {text.splitlines()[0]}"


def test_what_the_benchmarks_import_is_there() -> None:
    """A rename is noticed here, though no test runs the benchmarks."""
    for file in (ROOT / "benchmarks").glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("plainformer"):
                module = importlib.import_module(node.module or "")
                for alias in node.names:
                    if not hasattr(module, alias.name):  # it is a module, or it is not there
                        importlib.import_module(f"{node.module}.{alias.name}")


def test_no_pickle_and_no_eval() -> None:
    for file in sources():
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "pickle.load", "pickle.loads"), file
                safe = any(
                    k.arg == "weights_only" and ast.unparse(k.value) == "True"
                    for k in node.keywords
                )
                assert called != "torch.load" or safe, file


def test_one_reader_of_json() -> None:
    """What others wrote is parsed in one place, which bounds its depth and names its faults."""
    for file in sources():
        calls = [n for n in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(n, ast.Call)]
        found = {ast.unparse(call.func) for call in calls} & {"json.load", "json.loads"}
        assert not found or file.name == "json_reader.py", f"{file} parses JSON by itself"


def test_one_writer_of_tensors() -> None:
    """What safetensors writes is readable for its owner alone, whatever the umask says."""
    for file in sources():
        is_writer = file.relative_to(PACKAGE) == Path("base/tensors.py")
        assert is_writer or "import save_file" not in file.read_text("utf-8"), file


def test_the_forward_pass_is_read_in_an_afternoon() -> None:
    """Every file of `encoder` of which anything runs, in both backends, padded and packed."""
    ran: set[str] = set()
    encoder = str(PACKAGE / "encoder")

    def watch(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(encoder):
            ran.add(frame.f_code.co_filename)

    models = [Encoder(bert()), Encoder(bert(position_offset=2, relative_bias=True))]
    models += [Encoder(modern(type_vocab_size=2)), Encoder(bert(positions="alibi"))]
    batch = padded([7, 3, 3])
    for model, backend in product(models, ("plain", "fused")):
        with use_backend(backend):
            sys.setprofile(watch)
            try:
                model(**batch, output_attentions=True)
                model.eval()(**batch)
            finally:
                sys.setprofile(None)
    lines = sum(len(Path(file).read_text(encoding="utf-8").splitlines()) for file in ran)
    assert {"model.py", "plain.py", "fused.py", "batched.py"} <= {Path(file).name for file in ran}
    assert 1900 < lines < 2100, f"{lines} lines: what the README says of them"

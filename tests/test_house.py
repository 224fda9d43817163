"""Three floors, and no arrow points up: which room may import which."""

import ast
import sys
from itertools import product
from pathlib import Path
from types import FrameType

import pytest

from encoder import Encoder, use_backend
from tests.encoder.tools import bert, modern, padded

ROOT = Path(__file__).parent.parent
CELLAR = {"cellar"}
GROUND = {"encoder", "tokenizer", "corpora", "training", "logbook"}
STAGES = {"pretrain", "finetune"}
MAY_IMPORT = {
    "cellar": set(),
    **dict.fromkeys(sorted(GROUND), CELLAR),
    **dict.fromkeys(sorted(STAGES), CELLAR | GROUND),
    "explain": CELLAR | GROUND | STAGES,
    "plainformer": CELLAR | GROUND | STAGES | {"explain"},
}


def imports(file: Path) -> set[str]:
    """The top-level packages that a file imports, anywhere in it."""
    names = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.partition(".")[0])
    return names


@pytest.mark.parametrize("room", MAY_IMPORT)
def test_no_arrow_points_up(room: str) -> None:
    files = list((ROOT / room).rglob("*.py"))
    assert files or room == "explain"
    for file in files:
        others = imports(file) & set(MAY_IMPORT) - {room}
        assert others <= MAY_IMPORT[room], f"{file.relative_to(ROOT)} imports {others}"


def test_no_pickle_and_no_eval() -> None:
    for room in MAY_IMPORT:
        for file in (ROOT / room).rglob("*.py"):
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
    for room in MAY_IMPORT:
        for file in (ROOT / room).rglob("*.py"):
            calls = [
                n for n in ast.walk(ast.parse(file.read_text("utf-8"))) if isinstance(n, ast.Call)
            ]
            found = {ast.unparse(call.func) for call in calls} & {"json.load", "json.loads"}
            assert not found or file.name == "json_reader.py", f"{file} parses JSON by itself"


def test_one_writer_of_tensors() -> None:
    """What safetensors writes is readable for its owner alone, whatever the umask says."""
    for room in MAY_IMPORT:
        for file in (ROOT / room).rglob("*.py"):
            is_writer = file.relative_to(ROOT) == Path("cellar/tensors.py")
            assert is_writer or "import save_file" not in file.read_text("utf-8"), file


def test_the_forward_pass_is_read_in_an_afternoon() -> None:
    """Every file of `encoder` of which anything runs, in both backends, padded and packed."""
    ran: set[str] = set()

    def watch(frame: FrameType, event: str, _argument: object) -> None:
        if event == "call" and frame.f_code.co_filename.startswith(str(ROOT / "encoder")):
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
    assert {"model.py", "plain.py", "fused.py", "short.py"} <= {Path(file).name for file in ran}
    assert 1500 < lines < 1700, f"{lines} lines: what the README says of them"

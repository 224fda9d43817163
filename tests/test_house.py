"""Three floors, and no arrow points up: which room may import which."""

import ast
from pathlib import Path

import pytest

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


def test_the_forward_pass_is_read_in_an_afternoon() -> None:
    names = "ops/__init__ ops/plain ops/fused packing norm positions embeddings attention"
    files = [f"encoder/{name}.py" for name in f"{names} feedforward block model".split()]
    lines = sum(len((ROOT / file).read_text(encoding="utf-8").splitlines()) for file in files)
    assert lines < 1000

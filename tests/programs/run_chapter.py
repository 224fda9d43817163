"""Run a chapter as a script, then try its exercises: the stub must fail, the solution must pass."""

import sys
from pathlib import Path
from typing import Any

from walkthrough.chapters import english

chapter = sys.argv[1]
walkthrough = Path(__file__).parents[2] / "walkthrough"
sys.path.insert(0, str(walkthrough))  # as for a script of that folder
path = walkthrough / f"{chapter}.py"
sys.argv = [str(path)]
names: dict[str, Any] = {"__name__": "__main__", "__file__": str(path)}
exec(compile(path.read_text(encoding="utf-8"), path, "exec"), names)
cells = {cell.name: cell.source for cell in english(chapter) if cell.name is not None}
for k in (1, 2, 3):
    exec(cells[f"exercise-{k}"], names)
    try:
        names[f"exercise_{k}"]()
    except Exception as error:
        print(f"exercise {k}: the stub fails: {type(error).__name__}: {error}")
    else:
        raise SystemExit(f"exercise {k}: its check passes on the stub")
    exec(cells[f"solution-{k}"], names)
    names[f"exercise_{k}"]()

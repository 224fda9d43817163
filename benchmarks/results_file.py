"""Keep the results of a long comparison in a file, so that it can be stopped and go on."""

import json
from argparse import ArgumentTypeError
from pathlib import Path
from typing import Any


class Results:
    """The results in a file of JSON lines, each known by its key.

    As the `type` of an option of argparse it ends the command with exit code 2 where the folder is
    missing or a line is no result.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.parent.is_dir():
            raise ArgumentTypeError(f"no folder {self.path.parent} for the results")
        self.found: dict[tuple[str | int | float, ...], dict[str, Any]] = {}
        try:
            there = self.path.exists()
            lines = self.path.read_text(encoding="utf-8").splitlines() if there else []
        except (OSError, UnicodeDecodeError) as error:
            raise ArgumentTypeError(f"{path} is no file of results: {error}") from None
        for number, text in enumerate(lines, start=1):
            try:
                line = json.loads(text)
                self.found[tuple(line["key"])] = line
            except (ValueError, LookupError, TypeError):
                raise ArgumentTypeError(f"{path}:{number}: no result of this command") from None

    def add(self, *key: str | int | float, **values: Any) -> None:
        """Append a result."""
        self.found[key] = {"key": key, **values}
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(self.found[key], ensure_ascii=False) + "\n")
        print(*key, values, flush=True)

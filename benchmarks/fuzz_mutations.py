"""Damage a file according to its format, as disks, programs and people do.

`mutate(path, random)` changes one file in place: values of JSON, fields of a safetensors header,
lines of text, columns of Parquet, or bytes of any file.
"""

import json
import random
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

Random = random.Random

VALUES: tuple[Any, ...] = (
    None, True, False, 0, 1, -1, 2, 3, 7, 0.5, -0.5, 1e-300, 1e300, 10**9, 10**12, 2**31, 2**63,
    2**64, 10**20, 10**400, float("nan"), float("inf"), -float("inf"), "", " ", "a", "0", "1",
    "true", "null", "\0", "\n", "../x", "/etc/passwd", "x" * 5000, "[/x]", "{}", "%s", "猫",
    "\ud800", [], [None], [[]], {}, {"a": 1}, [1, 2, 3], ["a"], [{"a": []}], {"": ""}, {"id": "a"},
    [[1, "a"]],
)  # fmt: skip
LINES = (
    "", " ", "\t", "\t\t\t", ",,,", '"', '"a', "{", "[]", "null", "3", '{"text": 1}', "{}", "a\0b",
    '{"text": NaN, "label": 1}', "﻿a", "x" * 3000, "\r", "\x85", "\u2028", "a\tb", "a,b", "O", "B-",
    "[CLS]", "[MASK]", "-DOCSTART- O", "1 2 3 4 5", '{"text": "\\ud800", "label": "a"}',
)  # fmt: skip
DEEP = (100, 2000, 200_000)


def mutate(path: Path, rng: Random) -> None:
    """Damage one file: mostly by its format, sometimes by its bytes."""
    if rng.random() < 0.15:
        return damage_bytes(path, rng)
    name = path.name
    if name.endswith(".safetensors"):
        return damage_safetensors(path, rng)
    if name.endswith(".jsonl") or name == "unfinished":
        return rng.choice((damage_lines, damage_json_line))(path, rng)
    if name.endswith(".json"):
        return damage_json(path, rng)
    if name.endswith(".parquet"):
        return damage_parquet(path, rng)
    if name.endswith((".model", ".bin")):
        return damage_bytes(path, rng)
    return damage_lines(path, rng)


def damage_json(path: Path, rng: Random) -> None:
    """Change one to three values of a JSON file."""
    path.write_text(damaged_json(path.read_text(encoding="utf-8"), rng), "utf-8", "surrogatepass")


def damage_json_line(path: Path, rng: Random) -> None:
    """Change values in one line of a JSON Lines file."""
    lines = path.read_text(encoding="utf-8").splitlines()
    at = rng.randrange(len(lines))
    lines[at] = damaged_json(lines[at], rng).replace("\n", " ")
    path.write_text("\n".join(lines) + "\n", "utf-8", "surrogatepass")


def damaged_json(text: str, rng: Random) -> str:
    """Damage some values of a JSON text, or sometimes its syntax."""
    value = json.loads(text)
    for _ in range(rng.choice((1, 1, 1, 2, 3))):
        value = damaged_value(value, rng)
    kind = rng.random()
    if kind < 0.03:
        depth = rng.choice(DEEP)
        opening, closing = rng.choice((("[", "]"), ('{"a":', "}")))
        deep = opening * depth + "1" + closing * depth
        key = json.dumps(rng.choice(list(value))) if isinstance(value, dict) and value else '"a"'
        return f"{{{key}: {deep}}}" if rng.random() < 0.7 else deep
    made = json.dumps(value, ensure_ascii=rng.random() < 0.5)
    if kind < 0.06 and made.startswith("{"):  # a duplicate key
        return '{"' + rng.choice(list(value) or ["a"]) + '": null,' + made[1:]
    return made


def damaged_value(value: Any, rng: Random) -> Any:
    """Damage one key, element or nested value of a JSON value."""
    if isinstance(value, dict) and value and rng.random() < 0.93:
        key = rng.choice(list(value))
        operation = rng.random()
        if operation < 0.15:
            return {k: v for k, v in value.items() if k != key}
        if operation < 0.2:
            return {**value, rng.choice(("", "x", key + "_", "a.b", "__metadata__")): value[key]}
        if operation < 0.25:
            other = rng.choice(list(value))
            return {**value, key: value[other], other: value[key]}
        return {**value, key: damaged_value(value[key], rng)}
    if isinstance(value, list) and value and rng.random() < 0.85:
        at, operation = rng.randrange(len(value)), rng.random()
        if operation < 0.12:
            return value[:at] + value[at + 1 :]
        if operation < 0.24:
            return [*value[:at], value[at], *value[at:]]
        if operation < 0.3:
            return value[:at]
        return [*value[:at], damaged_value(value[at], rng), *value[at + 1 :]]
    if type(value) is int and rng.random() < 0.4:
        return value + rng.choice((-1, 1, -value, value, 1000, 10**6))
    if isinstance(value, str) and value and rng.random() < 0.3:
        at = rng.randrange(len(value))
        return value[:at] + rng.choice(("", "猫", " ", "\0", value[at] * 2)) + value[at + 1 :]
    return rng.choice(VALUES)


def damage_safetensors(path: Path, rng: Random) -> None:
    """Change the header, with or without its length; the first data bytes; or the end."""
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header, numbers = data[8 : 8 + size].decode(), data[8 + size :]
    operation = rng.random()
    if operation < 0.1:
        special = rng.choice((b"\xff\xff\xc0\x7f", b"\0\0\x80\x7f", b"\xff\xff\xff\xff"))
        at = rng.randrange(0, max(len(numbers) - 4, 1), 4)
        numbers = numbers[:at] + special + numbers[at + 4 :]
    elif operation < 0.2:
        numbers = numbers[: rng.randrange(len(numbers) + 1)] + b"\0" * rng.choice((0, 0, 4, 100))
    else:
        header = damaged_json(header, rng)
    made = header.encode("utf-8", "surrogatepass")
    length = (
        len(made) if rng.random() < 0.9 else rng.choice((0, 1, 2**40, 2**64 - 1, len(made) - 1))
    )
    path.write_bytes(struct.pack("<Q", length) + made + numbers)


def damage_lines(path: Path, rng: Random) -> None:
    """Drop, duplicate, swap, change or add lines."""
    lines = path.read_text(encoding="utf-8").split("\n")
    for _ in range(rng.choice((1, 1, 2, 5))):
        at, other = rng.randrange(len(lines)), rng.randrange(len(lines))
        operation = rng.randrange(6)
        if operation == 0 and len(lines) > 1:
            del lines[at]
        elif operation == 1:
            lines.insert(at, lines[other])
        elif operation == 2:
            lines[at], lines[other] = lines[other], lines[at]
        elif operation == 3:
            lines[at] = rng.choice(LINES)
        elif operation == 4:
            lines.insert(at, rng.choice(LINES))
        elif line := lines[at]:
            place = rng.randrange(len(line))
            lines[at] = (
                line[:place] + rng.choice(("", "\t", ",", '"', "\0", "ü")) + line[place + 1 :]
            )
    path.write_text("\n".join(lines), "utf-8", "surrogatepass")


def damage_parquet(path: Path, rng: Random) -> None:
    """Write a table with columns of other types, or without some columns."""
    import pyarrow
    from pyarrow import parquet

    table = parquet.read_table(path)
    columns: dict[str, list[Any]] = {name: table[name].to_pylist() for name in table.column_names}
    kinds: tuple[Any, ...] = (
        [1, None, 3], [1.5, float("nan"), 2.0], [["a"], [], None], [{"a": 1}, None, {"a": 2}],
        [b"\xff", b"", b"a"], [True, None, False], [None, None, None], ["", " ", "a\0b"],
    )  # fmt: skip
    name = rng.choice(list(columns))
    length = len(columns[name])
    operation = rng.random()
    if operation < 0.2:
        del columns[name]
    elif operation < 0.3:
        columns[rng.choice(("", "x", name + " "))] = columns.pop(name)
    else:
        chosen = rng.choice(kinds)
        columns[name] = [chosen[i % 3] for i in range(length)]
    if not columns:
        columns = {"text": []}
    rows = rng.choice((length, length, length, 0, 1))
    parquet.write_table(pyarrow.table({n: v[:rows] for n, v in columns.items()}), path)


def damage_bytes(path: Path, rng: Random) -> None:
    """Flip bits, cut, fill with zeros, or write in another encoding."""
    data = bytearray(path.read_bytes())
    operations: tuple[Callable[[], bytes], ...] = (
        lambda: bytes(flipped(data, rng, 1)),
        lambda: bytes(flipped(data, rng, 20)),
        lambda: bytes(data[: rng.randrange(len(data) + 1)]),
        lambda: b"",
        lambda: b"\0" * len(data),
        lambda: bytes(data) + bytes(data),
        lambda: b"\xef\xbb\xbf" + bytes(data),
        lambda: data.decode("utf-8", "replace").encode("utf-16"),
        lambda: data.decode("utf-8", "replace").replace("a", "é").encode("latin-1", "replace"),
        lambda: rng.randbytes(rng.choice((1, 8, 100))),
    )
    path.write_bytes(rng.choice(operations)())


def flipped(data: bytearray, rng: Random, count: int) -> bytearray:
    """Flip `count` bits, most of them near the start, where headers are."""
    for _ in range(count if data else 0):
        within = len(data) if rng.random() < 0.5 else min(len(data), 300)
        data[rng.randrange(within)] ^= 1 << rng.randrange(8)
    return data

"""Find the first part of a model whose output differs from that of `transformers`.

The table of tensor names of a family, which converts the weights, also pairs the modules. The
outputs of all modules with weights are recorded on both sides in one forward pass. The first
difference, in the order of our calls, names the part. Then its weights are compared: they may be
transposed or those of another tensor; if they are equal, the fault is in the computation before.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from plainformer.encoder.heads.headed_model import compute_all_tokens
from plainformer.encoder.packing import Packing
from plainformer.encoder.pretrained import PretrainedModel
from plainformer.encoder.weights import FAMILIES, headed
from plainformer.encoder.weights.family import Family
from plainformer.explain.heads import run_theirs


@dataclass(frozen=True)
class Pair:
    """Our modules of one role, one per layer, and the modules of theirs that form each."""

    ours: list[nn.Module]
    theirs: list[list[tuple[str, nn.Module]]]
    """For each part of ours (query, key, value): the names and modules of theirs."""


def find_first_difference(
    ours: PretrainedModel, theirs: Any, batch: dict[str, Tensor], tolerance: float
) -> str:
    """Name the first part whose error exceeds `tolerance` times its largest output."""
    family = FAMILIES[theirs.config.model_type]
    pairs = paired_modules(ours, theirs, family)
    packing = Packing.of(batch["attention_mask"])
    with torch.no_grad(), recording(_our_modules(pairs)) as mine, compute_all_tokens(ours.base):
        ours(**batch)
    with torch.no_grad(), recording(_their_modules(pairs)) as other:
        run_theirs(theirs, ours, batch)
    outputs = dict(other)
    for (role, _, call), output in mine:
        parts = pairs[role].theirs
        for number, part in enumerate(output.chunk(len(parts), dim=-1)):
            found = outputs.get((role, number, call))
            reference = None if found is None else packed(found, packing)
            if reference is None or reference.shape != part.shape:
                continue
            scale = max(1.0, float(reference.abs().max()))
            if not float((part - reference).abs().max()) <= tolerance * scale:
                name = parts[number][min(call, len(parts[number]) - 1)][0]
                return f"look at {name}: {weights_of(name, ours, theirs, family)}"
    return "each part with weights agrees: look at what is computed between them"


def paired_modules(ours: PretrainedModel, theirs: Any, family: Family) -> dict[str, Pair]:
    """Pair the modules with weights, by role: our name with `{}` for the number of the layer."""
    whole = headed(ours)
    pairs: dict[str, Pair] = {}
    for name in whole.state_dict():
        module_name, _, leaf = name.rpartition(".")
        if leaf != "weight":
            continue
        names = [n.removesuffix(".weight") for n in family.hf_names(name, ours.class_name)]
        modules = [_submodule(theirs, n, family) for n in names]
        role = re.sub(r"\.\d+\.", ".{}.", module_name)
        pair = pairs.setdefault(role, Pair([], [[] for _ in names]))
        _add(pair.ours, whole.get_submodule(module_name))
        for place, n, module in zip(pair.theirs, names, modules, strict=True):
            if module is not None and all(module is not known for _, known in place):
                place.append((n, module))
    return pairs


def _add(modules: list[nn.Module], module: nn.Module) -> None:
    # Layers may share a module; it is recorded once, and its calls are numbered.
    if all(module is not known for known in modules):
        modules.append(module)


def _submodule(theirs: Any, name: str, family: Family) -> nn.Module | None:
    for candidate in (name, name.removeprefix(family.prefix)):
        try:
            module: nn.Module = theirs.get_submodule(candidate)
        except AttributeError:
            continue
        return module
    return None


Key = tuple[str, int]
Call = tuple[tuple[str, int, int], Tensor]


def _our_modules(pairs: dict[str, Pair]) -> Iterator[tuple[Key, nn.Module]]:
    for role, pair in pairs.items():
        for module in pair.ours:
            yield (role, 0), module


def _their_modules(pairs: dict[str, Pair]) -> Iterator[tuple[Key, nn.Module]]:
    for role, pair in pairs.items():
        for number, place in enumerate(pair.theirs):
            for _, module in place:
                yield (role, number), module


@contextmanager
def recording(modules: Iterable[tuple[Key, nn.Module]]) -> Iterator[list[Call]]:
    """Collect the outputs of `modules` in the order of their calls: role, number, call; output."""
    calls: list[Call] = []
    call_counts: Counter[Key] = Counter()

    def watch(key: Key, module: nn.Module) -> torch.utils.hooks.RemovableHandle:
        def keep(_module: nn.Module, _inputs: Any, output: Any) -> None:
            if isinstance(output, Tensor):
                calls.append(((*key, call_counts[key]), output))
                call_counts[key] += 1

        return module.register_forward_hook(keep)

    handles = [watch(key, module) for key, module in modules]
    try:
        yield calls
    finally:
        for handle in handles:
            handle.remove()


def packed(output: Tensor, packing: Packing) -> Tensor | None:
    """Pack their padded output: `(tokens, …)` or one row per sequence; None for other shapes."""
    batch, seq = packing.shape
    if output.ndim == 3 and output.shape[1] == seq and output.shape[0] in (1, batch):
        return packing.pack(output.expand(batch, seq, -1))
    if output.ndim == 2 and len(output) == batch:
        return output[packing.rows]
    return None


def weights_of(name: str, ours: PretrainedModel, theirs: Any, family: Family) -> str:
    """Describe how the weights of their module `name` differ from ours."""
    mine = family.to_hf(headed(ours).state_dict(), ours.class_name)
    other = {_full(n, family): tensor for n, tensor in theirs.state_dict().items()}
    for leaf in ("weight", "bias"):
        ours_here, theirs_here = mine.get(f"{name}.{leaf}"), other.get(f"{name}.{leaf}")
        if ours_here is None or theirs_here is None or torch.equal(ours_here, theirs_here):
            continue
        if torch.equal(ours_here, theirs_here.t()):
            return f"its {leaf} is transposed"
        twins = _holding(ours_here, other)
        return f"its {leaf} is that of {twins[0]}" if twins else f"its {leaf} differs"
    return "its weights are equal, its input is not"


def _full(name: str, family: Family) -> str:
    headed = name.startswith((family.prefix, *family.head_prefixes))
    return name if headed else family.prefix + name


def _holding(tensor: Tensor, among: dict[str, Tensor]) -> Sequence[str]:
    return [n for n, t in among.items() if t.shape == tensor.shape and torch.equal(t, tensor)]

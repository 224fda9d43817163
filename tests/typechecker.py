"""Check shapes at run time: what the import hook of jaxtyping does to the functions of a package.

Only functions and dataclasses with a shape in their signature are checked: mypy has read the other
types, and a checked call costs more than many a function of a small model.
"""

import inspect
from collections.abc import Callable
from typing import Any, get_args

import jaxtyping
from beartype import BeartypeConf, beartype

check = beartype(conf=BeartypeConf(is_pep484_tower=True))  # an int is a float: PEP 484
check_shapes = jaxtyping.jaxtyped


def install(package: str) -> None:
    """Check the shapes of `package`, which is not imported yet."""
    jaxtyping.install_import_hook(package, "tests.typechecker.check")
    jaxtyping.jaxtyped = check_if_shaped  # the decorator that the hook gives everything


def check_if_shaped(*, typechecker: Any) -> Callable[[Any], Any]:
    """Return a decorator that checks what has a shape in its signature, and leaves the rest."""

    def decorate(target: Any) -> Any:
        return check_shapes(target, typechecker=typechecker) if is_shaped(target) else target

    return decorate


def is_shaped(target: Any) -> bool:
    """Whether a function or a class has an annotation with a shape."""
    return any(has_shape(annotation) for annotation in inspect.get_annotations(target).values())


def has_shape(annotation: Any) -> bool:
    """Whether an annotation is a shape, or contains one: `tuple[Float[Tensor, "a b"], int]`."""
    if inspect.isclass(annotation) and issubclass(annotation, jaxtyping.AbstractArray):
        return True
    return any(has_shape(part) for part in get_args(annotation))

"""State the limits of a request in the OpenAPI page."""

from typing import Any

from plainformer.deploy.server.limits import Limits

LISTS = ("inputs", "input", "texts", "sentences")
"""The fields that hold several texts."""


def state_limits(page: dict[str, Any], limits: Limits) -> None:
    """Write the largest number of texts into the forms of all requests, in place."""
    for schema in page["components"]["schemas"].values():
        for name in LISTS:
            field = schema.get("properties", {}).get(name, {})
            for form in (field, *field.get("anyOf", ())):
                if form.get("type") == "array":
                    form["maxItems"] = limits.max_texts

"""The part of JSON Schema that the vendor's openapi.json uses, and no more."""

from collections.abc import Mapping
from typing import Any

TYPES = {
    "string": str,
    "number": (int, float),
    "integer": int,
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}


def problems(
    value: Any, schema: Mapping[str, Any], schemas: Mapping[str, Any], place: str = "body"
) -> list[str]:
    """Return what is wrong with `value`; a member that the schema does not name is wrong too."""
    if "$ref" in schema:
        return problems(value, schemas[schema["$ref"].rpartition("/")[2]], schemas, place)
    if "anyOf" in schema:
        found = [problems(value, option, schemas, place) for option in schema["anyOf"]]
        return [] if [] in found else found[0]
    kind = TYPES[schema["type"]] if "type" in schema else object
    if not isinstance(value, kind) or (
        isinstance(value, bool) and schema.get("type") in ("number", "integer")
    ):
        return [f"{place} is {value!r}, not {schema['type']}"]
    found = []
    if isinstance(value, dict) and "properties" in schema:
        found += [f"{place} lacks {name}" for name in schema.get("required", ()) if name not in value]
        found += [f"{place}.{name} is unknown" for name in value if name not in schema["properties"]]
        for name in value.keys() & schema["properties"].keys():
            found += problems(value[name], schema["properties"][name], schemas, f"{place}.{name}")
    if isinstance(value, list) and "items" in schema:
        if len(value) < schema.get("minItems", 0):
            found.append(f"{place} is too short")
        for i, item in enumerate(value):
            found += problems(item, schema["items"], schemas, f"{place}[{i}]")
    return found

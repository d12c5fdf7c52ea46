"""Structs of the planning engine inside of pydantic models: written as they are, and described in the JSON schema."""

from typing import Any

import msgspec
from pydantic import BaseModel, GetCoreSchemaHandler, GetJsonSchemaHandler
from pydantic_core import CoreSchema, core_schema


class Shown:
    """Marks a field of a model as a struct of msgspec: `Annotated[Summary, SHOWN]`. It is only ever given as an instance."""

    def __get_pydantic_core_schema__(self, source: Any, _handler: GetCoreSchemaHandler) -> CoreSchema:
        """Take it as it is, and write it as its fields."""
        return core_schema.any_schema(
            serialization=core_schema.plain_serializer_function_ser_schema(_plain),
            metadata={"shown": source},
        )

    def __get_pydantic_json_schema__(self, schema: CoreSchema, _handler: GetJsonSchemaHandler) -> dict[str, Any]:
        """The struct's own schema, without references, which would lead nowhere from inside of another."""
        metadata: dict[str, Any] = schema["metadata"]
        (described,), components = msgspec.json.schema_components(
            (metadata["shown"],), schema_hook=_schema_of, ref_template="{name}"
        )
        found: dict[str, Any] = _inlined(described, components)
        return found


def _plain(struct: Any) -> Any:
    return msgspec.to_builtins(struct, enc_hook=_model)


def _model(value: Any) -> Any:
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json")
    raise NotImplementedError(type(value).__name__)


def _schema_of(kind: type) -> dict[str, Any]:
    if issubclass(kind, BaseModel):
        return kind.model_json_schema()
    raise NotImplementedError(kind.__name__)


def _inlined(described: Any, components: dict[str, Any]) -> Any:
    if isinstance(described, dict):
        if "$ref" in described:
            return _inlined(components[described["$ref"]], components)
        return {name: _inlined(value, components) for name, value in described.items()}
    if isinstance(described, list):
        return [_inlined(each, components) for each in described]
    return described


SHOWN = Shown()

"""What the API offers, read from its OpenAPI: every operation, the objects it names, and a valid request for it."""

import importlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any

from fastapi import APIRouter, FastAPI

APP = Path(__file__).parents[2] / "app"

OBJECTS: dict[str, str] = {
    "cid": "community",
    "space_id": "space",
    "parent_id": "phase",
    "filter[parent_id]": "phase",
    "room_id": "room",
    "filter[room_id]": "room",
    "resident_id": "resident",
    "household_id": "household",
    "staff_id": "staff",
    "filter[caller_id]": "staff",
    "filter[object_id]": "resident",
    "filter[staff_id]": "staff",
    "shift_id": "shift",
    "rota_entry_id": "rota_entry",
    "vehicle_id": "vehicle",
    "job_id": "job",
    "filter[resident_id]": "resident",
    "key_id": "key",
    "document_id": "document",
    "answer_id": "answer",
    "conversation_id": "conversation",
    "turn_id": "turn",
    "card_id": "card",
    "order_id": "work_order",
    "file_id": "work_order_file",
    "filter[order_id]": "work_order",
    "incident_id": "incident",
    "promise_id": "promise",
    "category_id": "category",
    "filter[category_id]": "category",
    "parent_category_id": "category",
    "assignee_id": "staff",
    "filter[assignee_id]": "staff",
    "about_staff_id": "colleague",  # who is complained about sees the order no more
    "reporter_id": "resident",
    "filter[reporter_id]": "resident",
    "filter[building_id]": "space",
    "filter[space_id]": "space",
    "draft_id": "draft",
    "canned_reply_id": "canned reply",
    "message_id": "message",
    "up_to": "message",
    "channel_id": "channel",
    "delivery_id": "delivery",
    "rule_id": "sla_rule",
    "assignment_rule_id": "assignment_rule",
    "building_id": "space",
    "webhook_id": "webhook",
    "item_id": "item",
    "list_id": "recommendation_list",
    "ranker_id": "ranker",
    "owner_resident_id": "resident",
    "campaign_id": "campaign",
    "campaign_rule_id": "campaign_rule",
    "webhook_delivery_id": "webhook_delivery",
}
"""What each parameter and each field of a body names; `worlds.py` makes one of each. A test proves it complete."""

PINNED: dict[str, Any] = {
    "kind": "building",  # goes below the phase that `parent_id` names
    "roles": ["manager"],
    "scopes": ["me:read"],
    "code": "charging_pile",
    "messages": [{"role": "user", "content": "几点上班"}],
    "timezone": "Asia/Shanghai",
    "until": "2027-01-01T00:00:00Z",
    "plate": "沪A12345",
    "due_at": "2027-01-01T00:00:00Z",
    "from_time": "08:00",
    "to_time": "17:00",
    "url": "https://hooks.invalid/linli",
    "local_time": "2027-01-01T10:00",
}
"""Fields whose valid values depend on more than the schema says."""

SHEETS = {
    "/spaces/import": "楼栋\n{}栋\n",
    "/residents/import": "姓名\n住户{}\n",
    "/items/import": "外部编号,类型,标题\n{0},活动,活动{0}\n",
    "/interactions/import": "user,item\nu{0},{0}\n",
}
"""What is uploaded where a sheet is asked for, not a document."""

NUMBERS = count(1)


@dataclass(frozen=True)
class Operation:
    method: str
    path: str
    spec: Mapping[str, Any]
    schemas: Mapping[str, Any] = field(repr=False)

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def secured(self) -> bool:
        return bool(self.spec.get("security"))

    @property
    def writes(self) -> bool:
        return self.method != "GET"

    @property
    def names(self) -> list[str]:
        """Parameters and fields that name an object, the community last."""
        found = [name for name, _ in self._uuids()]
        return sorted(dict.fromkeys(found), key=lambda name: name == "cid")

    @property
    def filters(self) -> list[str]:
        return [one["name"] for one in self.spec.get("parameters", ()) if one["in"] == "query"]

    def _uuids(self) -> Iterator[tuple[str, str]]:
        for one in self.spec.get("parameters", ()):
            if one["in"] == "path" or _is_uuid(one["schema"]):
                yield one["name"], one["in"]
        for name, schema in self._fields().items():
            if _is_uuid(schema):
                yield name, "body"

    def _fields(self) -> dict[str, Any]:
        return dict(self._body().get("properties", {}))

    def _body(self) -> dict[str, Any]:
        for content in self.spec.get("requestBody", {}).get("content", {}).values():
            return self._resolved(content["schema"])
        return {}

    def _resolved(self, schema: Mapping[str, Any]) -> dict[str, Any]:
        while "$ref" in schema:
            schema = self.schemas[schema["$ref"].rsplit("/", 1)[-1]]
        return dict(schema)

    def request(self, ids: Mapping[str, str]) -> dict[str, Any]:
        """A valid request, as keywords of `client.request`, whose objects are those of `ids` (by name)."""
        filled = {name: ids[name] for name in self.names}
        query = {name: filled[name] for name in self.filters if name in filled}
        request: dict[str, Any] = {
            "method": self.method, "url": self.path.format(**filled), "params": query, "headers": {"If-Match": "*"}
        }  # fmt: skip
        content = self.spec.get("requestBody", {}).get("content", {})
        if "multipart/form-data" in content:
            number = next(NUMBERS)
            sheet = next((text for path, text in SHEETS.items() if self.path.endswith(path)), None)
            name, text = ("sheet.csv", sheet) if sheet else (f"rules-{number}.md", "# Rules\n\nNo dogs in the lift.")
            request["files"] = {"file": (name, text.format(number).encode())}
        elif content:
            request["json"] = self._valid(self._body(), filled)
        return request

    def _valid(self, schema: Mapping[str, Any], filled: Mapping[str, str]) -> Any:
        """The smallest valid value, with the fields that name objects."""
        schema = self._resolved(schema)
        if "anyOf" in schema:
            return self._valid(schema["anyOf"][0], filled)
        if "enum" in schema or "const" in schema:
            return schema.get("const", schema.get("enum", [None])[0])
        if schema.get("type") == "object":
            wanted = set(schema.get("required", ())) | (set(filled) & set(schema.get("properties", ())))
            return {name: filled.get(name) or self._pinned(name, schema["properties"][name]) for name in sorted(wanted)}
        if schema.get("type") == "array":
            return [self._valid(schema["items"], {}) for _ in range(schema.get("minItems", 0))]
        return {"string": f"a name {next(NUMBERS)}", "integer": 1, "number": 1, "boolean": True}[schema["type"]]

    def _pinned(self, name: str, schema: Mapping[str, Any]) -> Any:
        """The value that PINNED has for a field of this name, if this is a field of that kind."""
        known = self._resolved(schema).get("enum")
        if name in PINNED and (known is None or PINNED[name] in known):
            return PINNED[name]
        return self._valid(schema, {})


def _is_uuid(schema: Mapping[str, Any]) -> bool:
    return any(one.get("format") == "uuid" for one in (schema, *schema.get("anyOf", ())))


def operations(app: FastAPI) -> list[Operation]:
    """Every operation of the API, deleting ones last."""
    openapi = app.openapi()
    found = [
        Operation(method.upper(), path, spec, openapi["components"]["schemas"])
        for path, methods in openapi["paths"].items()
        for method, spec in methods.items()
    ]
    return sorted(found, key=lambda one: one.method == "DELETE")


def routers() -> list[APIRouter]:
    """Every router of the app, from every module of routes."""
    names = [path for path in APP.glob("*/*.py") if path.stem.endswith("routes")] + [APP / "chat" / "openai_api.py"]
    modules = [importlib.import_module(f"app.{path.parent.name}.{path.stem}") for path in sorted(names)]
    found = [value for module in modules for value in vars(module).values() if isinstance(value, APIRouter)]
    return list({id(router): router for router in found}.values())

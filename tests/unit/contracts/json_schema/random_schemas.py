"""Random schemas, variations of them, and values near to them: a small world, full of traps."""

from __future__ import annotations

import copy
import random
from typing import Any

NAMES = ["a", "b", "c", "xa", "xb"]
NUMBERS: list[Any] = [-1, 0, 1, 1.0, 2, 3, 0.5, 1.5, 2.5, 4, 6, 0.1, 0.3]
TEXTS = ["", "a", "b", "ab", "aab", "xa", "é", "😀", "a\n", "0", "٣", "abc", "aaaa"]
PATTERNS = [
    "^a",
    "^x",
    "b$",
    "^[a-c]+$",
    "a+",
    "^.$",
    "^\\d$",
    "^(a|b)*$",
    "^x?a",
    "^(?=a)",
    "^\\w+$",
]
SCALARS: list[Any] = [None, True, False, *NUMBERS, *TEXTS]
DRAFTS = {
    "2020-12": "https://json-schema.org/draft/2020-12/schema",
    "2019-09": "https://json-schema.org/draft/2019-09/schema",
    "draft-07": "http://json-schema.org/draft-07/schema#",
}


class Schemas:
    """A source of schemas of one draft."""

    def __init__(self, source: random.Random, draft: str) -> None:
        self.random = source
        self.draft = draft
        self.definitions = source.sample(["t", "u"], source.choice([0, 0, 1, 2]))

    def document(self) -> dict[str, Any]:
        """A whole document."""
        schema = self.schema(3)
        if isinstance(schema, bool):
            schema = {"allOf": [schema]}
        if self.definitions:
            schema["$defs"] = {name: self.consuming(2) for name in self.definitions}
        return {"$schema": DRAFTS[self.draft], **schema}

    def consuming(self, depth: int) -> Any:
        """A definition: references in it stand below a member or an item."""
        if self.random.random() < 0.5:
            return {"type": "object", "properties": {self.name(): self.schema(depth - 1)}}
        inner = self.schema(depth - 1)
        return {"type": ["array", "null", "integer"], "items": inner, "maxItems": 2}

    def schema(self, depth: int) -> Any:
        """One schema."""
        r = self.random
        if r.random() < 0.06:
            return r.random() < 0.6
        if depth <= 0 or r.random() < 0.25:
            return self.scalar()
        made: dict[str, Any] = {}
        for _ in range(r.choice([1, 1, 2, 2, 3])):
            made.update(r.choice(self.builders())(depth - 1))
        return made

    def builders(self) -> list[Any]:
        found = [
            self.typed,
            self.scalar_keywords,
            self.object_keywords,
            self.object_keywords,
            self.array_keywords,
            self.joined,
            self.joined,
        ]
        if self.definitions:
            found.append(self.reference)
        if self.draft != "draft-07":
            found.append(self.unevaluated)
        return found

    def reference(self, depth: int) -> dict[str, Any]:
        return {"$ref": f"#/$defs/{self.random.choice(self.definitions)}"}

    def typed(self, depth: int) -> dict[str, Any]:
        types = ["null", "boolean", "integer", "number", "string", "array", "object"]
        count = self.random.choice([1, 1, 1, 2])
        chosen = self.random.sample(types, count)
        return {"type": chosen[0] if count == 1 else chosen}

    def scalar(self) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for _ in range(self.random.choice([1, 1, 2])):
            made.update(self.scalar_keywords(0))
        return made

    def scalar_keywords(self, depth: int) -> dict[str, Any]:
        r = self.random
        number, count = r.choice(NUMBERS), r.randrange(3)
        pick = r.randrange(12)
        if pick == 0:
            return {"enum": r.sample(SCALARS, r.randrange(0, 4))}
        if pick == 1:
            return {"const": r.choice([*SCALARS, [], {}, [1], {"a": 1}])}
        if pick < 4:
            return self.typed(0)
        if pick < 6:
            return {r.choice(["minimum", "exclusiveMinimum"]): number}
        if pick < 8:
            return {r.choice(["maximum", "exclusiveMaximum"]): number}
        if pick == 8:
            return {"multipleOf": r.choice([1, 2, 3, 4, 6, 0.5, 0.25, 1.5, 0.1])}
        if pick == 9:
            return {"minLength": count}
        if pick == 10:
            return {"maxLength": count}
        return {"type": "string", "pattern": r.choice(PATTERNS)}

    def name(self) -> str:
        return self.random.choice(NAMES)

    def names(self, most: int = 2) -> list[str]:
        return self.random.sample(NAMES, self.random.randrange(1, most + 1))

    def object_keywords(self, depth: int) -> dict[str, Any]:
        r = self.random
        made: dict[str, Any] = {"type": "object"} if r.random() < 0.6 else {}
        for _ in range(r.choice([1, 2, 3])):
            made.update(self.object_keyword(depth))
        return made

    def object_keyword(self, depth: int) -> dict[str, Any]:
        r = self.random
        pick = r.randrange(14)
        if pick < 5:
            return {"properties": {name: self.schema(depth) for name in self.names(3)}}
        if pick < 7:
            return {"required": self.names()}
        if pick == 7:
            return {"additionalProperties": r.choice([False, self.schema(depth)])}
        if pick == 8:
            return {"patternProperties": {r.choice(PATTERNS): self.schema(depth)}}
        if pick == 9:
            return {"propertyNames": self.schema(0)}
        if pick == 10:
            return {"minProperties": r.randrange(3)}
        if pick == 11:
            return {"maxProperties": r.randrange(3)}
        if self.draft == "draft-07":
            value = r.choice([self.names(), self.schema(depth)])
            return {"dependencies": {self.name(): value}}
        if pick == 12:
            return {"dependentRequired": {self.name(): self.names()}}
        return {"dependentSchemas": {self.name(): self.schema(depth)}}

    def array_keywords(self, depth: int) -> dict[str, Any]:
        r = self.random
        made: dict[str, Any] = {"type": "array"} if r.random() < 0.6 else {}
        for _ in range(r.choice([1, 2, 3])):
            made.update(self.array_keyword(depth))
        return made

    def array_keyword(self, depth: int) -> dict[str, Any]:
        r = self.random
        pick = r.randrange(8)
        if pick < 2:
            return {"items": self.schema(depth)}
        if pick == 2:
            inner = [self.schema(depth) for _ in range(r.choice([1, 2]))]
            if self.draft == "2020-12":
                return {"prefixItems": inner}
            return {"items": inner, "additionalItems": self.schema(depth)}
        if pick == 3:
            return {"minItems": r.randrange(3)}
        if pick == 4:
            return {"maxItems": r.randrange(3)}
        if pick == 5:
            return {"uniqueItems": r.random() < 0.7}
        made = {"contains": self.schema(depth)}
        if self.draft != "draft-07" and r.random() < 0.6:
            made[r.choice(["minContains", "maxContains"])] = r.randrange(3)
        return made

    def joined(self, depth: int) -> dict[str, Any]:
        r = self.random
        keyword = r.choice(["allOf", "anyOf", "oneOf", "not", "if"])
        if keyword == "not":
            return {"not": self.schema(depth)}
        if keyword == "if":
            made = {"if": self.schema(depth)}
            for other in r.sample(["then", "else"], r.choice([1, 2])):
                made[other] = self.schema(depth)
            return made
        return {keyword: [self.schema(depth) for _ in range(r.choice([1, 2, 2, 3]))]}

    def unevaluated(self, depth: int) -> dict[str, Any]:
        r = self.random
        keyword, more = r.choice(
            [
                ("unevaluatedProperties", self.object_keywords),
                ("unevaluatedItems", self.array_keywords),
            ]
        )
        return {**more(depth), keyword: r.choice([False, False, self.schema(0)])}

    def varied(self, schema: Any) -> Any:
        """A schema that differs a little, mostly in a way that accepts more."""
        made = copy.deepcopy(schema)
        for _ in range(self.random.choice([1, 1, 2, 3])):
            places = list(_places(made))
            self._vary(*self.random.choice(places))
        return made

    def _vary(self, holder: dict[str, Any], keyword: str) -> None:
        r = self.random
        value = holder[keyword]
        if keyword in ("$schema", "$ref", "$defs"):
            return
        if keyword in ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties"):
            holder[keyword] = value + r.choice([0, 1, 1, 2]) if value >= 0 else value
        elif keyword in ("minimum", "exclusiveMinimum"):
            holder[keyword] = value - r.choice([0, 1, 1, 2])
        elif keyword == "multipleOf":
            holder[keyword] = value / 2 if value != 0.1 else value
        elif keyword == "type":
            holder[keyword] = sorted({*([value] if isinstance(value, str) else value), "number"})
        elif keyword == "enum":
            holder[keyword] = [*value, r.choice(SCALARS)]
        elif keyword in ("anyOf", "oneOf") and r.random() < 0.6:
            value.append(self.schema(1))
        elif keyword in ("allOf", "required") and len(value) > 1:
            value.pop()
        elif keyword == "properties" and r.random() < 0.5:
            value[self.name()] = self.schema(1)
        elif r.random() < 0.5:
            del holder[keyword]
        elif r.random() < 0.3:
            holder.update(self.scalar_keywords(0))


def _places(schema: Any) -> Any:
    """Yield each keyword of each schema inside, roughly."""
    if isinstance(schema, dict):
        for key, value in schema.items():
            yield schema, key
            if key not in ("enum", "const"):
                if isinstance(value, dict) and key in (
                    "properties",
                    "patternProperties",
                    "$defs",
                    "dependentSchemas",
                ):
                    for one in value.values():
                        yield from _places(one)
                else:
                    yield from _places(value)
    elif isinstance(schema, list):
        for one in schema:
            yield from _places(one)


class Values:
    """A source of values, near to what a schema accepts."""

    def __init__(self, source: random.Random, document: Any) -> None:
        self.random = source
        self.document = document

    def any(self, depth: int = 2) -> Any:
        """Any value of the small world."""
        r = self.random
        pick = r.random()
        if depth <= 0 or pick < 0.4:
            return r.choice(SCALARS)
        if pick < 0.75:
            names = r.sample(NAMES, r.randrange(4))
            return {name: self.any(depth - 1) for name in names}
        return [self.any(depth - 1) for _ in range(r.randrange(4))]

    def fitting(self, schema: Any, depth: int = 4) -> Any:
        """A value that fits the schema more often than not."""
        r = self.random
        if not isinstance(schema, dict) or depth <= 0 or r.random() < 0.05:
            return self.any(1)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return r.choice(schema["enum"])
        if "$ref" in schema and r.random() < 0.8:
            name = schema["$ref"].rsplit("/", 1)[-1]
            return self.fitting(self.document.get("$defs", {}).get(name), depth - 1)
        for keyword in ("anyOf", "oneOf", "allOf"):
            if keyword in schema and r.random() < 0.5:
                return self.fitting(self.merged(schema, r.choice(schema[keyword])), depth - 1)
        for keyword in ("if", "then", "else"):
            if keyword in schema and r.random() < 0.3:
                return self.fitting(self.merged(schema, schema[keyword]), depth - 1)
        types = schema.get("type") or self.guessed(schema)
        type = types if isinstance(types, str) else r.choice(types)
        return getattr(self, f"_{type}")(schema, depth)

    def merged(self, outer: dict[str, Any], inner: Any) -> Any:
        rest = {
            key: value
            for key, value in outer.items()
            if key not in ("anyOf", "oneOf", "allOf", "if", "then", "else", "not")
        }
        if not isinstance(inner, dict):
            return rest
        made = {**rest, **inner}
        if "properties" in rest and "properties" in inner:
            made["properties"] = {**rest["properties"], **inner["properties"]}
        if "required" in rest and "required" in inner:
            made["required"] = rest["required"] + inner["required"]
        return made

    def guessed(self, schema: dict[str, Any]) -> list[str]:
        text = " ".join(schema)
        found = ["null", "boolean", "number", "string", "array", "object"]
        if "ropert" in text or "required" in text or "depend" in text:
            found += ["object"] * 6
        if "tems" in text or "ontains" in text:
            found += ["array"] * 6
        return found

    def _null(self, schema: Any, depth: int) -> Any:
        return None

    def _boolean(self, schema: Any, depth: int) -> Any:
        return self.random.random() < 0.5

    def _integer(self, schema: Any, depth: int) -> Any:
        low, high = schema.get("minimum", -3), schema.get("maximum", 7)
        near = self.random.choice([low, high, self.random.randrange(-3, 8)])
        return int(near) if self.random.random() < 0.8 else float(int(near))

    def _number(self, schema: Any, depth: int) -> Any:
        return self.random.choice(
            [*NUMBERS, self._integer(schema, depth), schema.get("maximum", 9)]
        )

    def _string(self, schema: Any, depth: int) -> Any:
        return self.random.choice(TEXTS)

    def _array(self, schema: Any, depth: int) -> Any:
        r = self.random
        length = r.choice([schema.get("minItems", 0), schema.get("maxItems", 2), r.randrange(4)])
        first = schema.get("prefixItems", [])
        rest = schema.get("items", True)
        if isinstance(rest, list):
            first, rest = rest, schema.get("additionalItems", True)
        made = [
            self.fitting(first[i] if i < len(first) else rest, depth - 1) for i in range(length)
        ]
        if "contains" in schema and made and r.random() < 0.7:
            made[r.randrange(len(made))] = self.fitting(schema["contains"], depth - 1)
        return made

    def _object(self, schema: Any, depth: int) -> Any:
        r = self.random
        properties = schema.get("properties", {})
        names = set(schema.get("required", ())) | {n for n in properties if r.random() < 0.6}
        if r.random() < 0.4:
            names.add(r.choice(NAMES))
        other = schema.get("additionalProperties", True)
        return {
            name: self.fitting(properties.get(name, other), depth - 1) for name in sorted(names)
        }

"""What an annotation means, said in msgspec's terms.

Owns: reading `Annotated` metadata of msgspec, annotated-types and pydantic; and a stand-in class with a handler
for each type that msgspec refuses or would take without its constraints (unions of several classes, enums of mixed
values, classes whose fields carry foreign constraints). A class that msgspec understands completely is left
to msgspec. Refuses: JSON Schema and fault reports, which read the result in `schema`.

Theory of operation: `Translator.type` rewrites an annotation bottom up. Whether a *class* must be replaced by a
stand-in is found by a probing run over everything reachable from it, which counts what msgspec would get wrong
(`essential`); recursive classes need no more than that. A stand-in is a class only in name: msgspec calls the
decoding hook for it, and the hook asks its handler. The file is long because its three parts (stand-ins, metadata,
annotations) have no use without each other; the section lines are where it would be cut.
"""

import collections.abc
import contextlib
import dataclasses
import enum
import functools
import math
import pathlib
import re
import sys
import threading
import types
import typing
from collections.abc import Callable, Iterator, Mapping
from typing import Annotated, Any, Literal, TypeVar, Union, cast, get_args, get_origin

import attrs
import msgspec
import msgspec.inspect as mi

NODEFAULT = msgspec.NODEFAULT
ABSENT: Any = object()  # what a stand-in's field holds when the client left it out
MAX_ATTEMPTS = 10_000  # alternatives tried for one value, some microseconds each
_attempts = threading.local()
HANDLER = "__schema_handler__"
LIMITS = ("gt", "ge", "lt", "le", "multiple_of", "min_length", "max_length", "pattern", "tz")
DOCS = ("title", "description", "examples")
_LOWER, _UPPER = ("ge", "gt", "min_length"), ("le", "lt", "max_length")
_NUMERIC = frozenset({"gt", "ge", "lt", "le", "multiple_of"})
_LENGTH = frozenset({"min_length", "max_length"})
_BYTES = (mi.BytesType, mi.ByteArrayType, mi.MemoryViewType)
_TYPED = ("__struct_config__", "__dataclass_fields__", "__attrs_attrs__")
_ANNOTATED_TYPES = {
    "Gt": "gt", "Ge": "ge", "Lt": "lt", "Le": "le",
    "MultipleOf": "multiple_of", "MinLen": "min_length", "MaxLen": "max_length",
}  # fmt: skip
_QUALIFIERS = (typing.Required, typing.NotRequired, typing.Final, typing.ClassVar)
_ITERABLES = (collections.abc.Iterable, collections.abc.Iterator, collections.abc.Reversible)


class SchemaError(TypeError):
    """A signature that has no JSON Schema; raised at registration and says what to do."""


# ---- stand-ins: what msgspec's decoding hook calls


def _joined(alternatives: tuple[Any, ...]) -> Any:
    return cast(Any, Union)[alternatives]


class _Anything(type):
    """msgspec checks that a hook returned an instance of the class; a stand-in takes what its handler built."""

    def __instancecheck__(cls, instance: Any) -> bool:
        return True


def stand_in(name: str, handler: Any) -> Any:
    """A new class which msgspec gives to the hook, and whose handler the hook asks."""
    return _Anything(name, (), {HANDLER: handler})


def hook(strict: bool) -> Callable[[type, Any], Any]:
    """The `dec_hook` for one strictness."""
    return functools.partial(_construct, strict)


def _construct(strict: bool, cls: type, value: Any) -> Any:
    handler = handler_of(cls)
    if handler is None:
        raise TypeError(f"{cls.__name__} cannot be built from JSON")
    return handler.convert(value, strict)


def build(value: Any, type_: Any, strict: bool) -> Any:
    """`msgspec.convert` with the stand-ins in force. Raises: msgspec.ValidationError at the first fault."""
    return msgspec.convert(value, type_, strict=strict, dec_hook=hook(strict), str_keys=True)


@contextlib.contextmanager
def bounded_attempts() -> Iterator[None]:
    """One bound for all the attempts within; inside another one it changes nothing."""
    if getattr(_attempts, "left", None) is not None:
        yield
        return
    _attempts.left = MAX_ATTEMPTS
    try:
        yield
    finally:
        _attempts.left = None


@attrs.define(eq=False)
class UnionOf:
    """A union that msgspec refuses: of the closest alternatives the first that fits exactly, else leniently.

    The alternatives of a recursive union multiply with each level, so that all attempts of one value have one bound.
    """

    arms: tuple[Any, ...]
    nodes: list[mi.Type] | None = None
    names: list[frozenset[str | None]] = attrs.field(factory=list)

    def convert(self, value: Any, strict: bool) -> Any:
        """Raises: ValueError where no arm takes the value, RecursionError where there is too much to try."""
        if self.nodes is None:  # not sooner: an arm may be a class that is still being translated
            self.nodes = [mi.type_info(arm) for arm in self.arms]
            self.names = [_member_names(node) for node in self.nodes]
        with bounded_attempts():
            return self._first(_closest(self.names, value), value, strict)

    def _first(self, indexes: list[int], value: Any, strict: bool) -> Any:
        for exact in (True,) if strict else (True, False):
            for index in indexes:
                _attempts.left -= 1
                if _attempts.left < 0:
                    raise RecursionError("too many alternatives to try")
                try:
                    return build(value, self.arms[index], exact)
                except (msgspec.ValidationError, ValueError, TypeError):
                    continue
        raise ValueError("matches none of the types allowed here")


@attrs.define(eq=False)
class Choice:
    """One of a few values: an enum or a literal that msgspec refuses. Pairs of JSON value and Python value."""

    pairs: tuple[tuple[Any, Any], ...]

    def convert(self, value: Any, strict: bool) -> Any:
        """Raises: ValueError where the value is none of them."""
        for json, python in self.pairs:
            if type(json) is type(value) and json == value:
                return python
        for json, python in self.pairs:
            numbers = {type(json), type(value)} == {int, float}
            if (numbers and json == value) or (not strict and isinstance(value, str) and str(json) == value):
                return python
        raise ValueError(f"must be one of {', '.join(repr(json) for json, _ in self.pairs)}")


@attrs.define(eq=False)
class FilePath:
    """A path, as a string."""

    cls: type

    def convert(self, value: Any, strict: bool) -> Any:
        """Raises: TypeError where it is no string."""
        if not isinstance(value, str | self.cls):
            raise TypeError("expected a string (a path)")
        return self.cls(value)


@attrs.frozen
class ClassField:
    """One field of a user's class: its Python name, its JSON name, the argument of the constructor, its annotation."""

    name: str
    wire: str
    argument: str
    annotation: Any
    required: bool = True
    default: Any = NODEFAULT


@attrs.define(eq=False)
class Shadow:
    """A user's class, decoded through a struct with the translated annotations, then built by its own constructor."""

    cls: Any
    struct: Any = None
    fields: tuple[ClassField, ...] = ()

    def convert(self, value: Any, strict: bool) -> Any:
        """Raises: msgspec.ValidationError; ValueError or TypeError from the user's constructor."""
        decoded = build(value, self.struct, strict)
        values = ((field.argument, getattr(decoded, f"f{index}")) for index, field in enumerate(self.fields))
        return self.cls(**{argument: value for argument, value in values if value is not ABSENT})


def is_pydantic(cls: Any) -> bool:
    """Whether pydantic validates this class (models, pydantic dataclasses, its own special types)."""
    return isinstance(cls, type) and "pydantic" in sys.modules and hasattr(cls, "__get_pydantic_core_schema__")


@functools.lru_cache(1024)
def handler_of(cls: type) -> Any:
    """The handler of a class that msgspec leaves to the hook, or None where there is none."""
    handler = cls.__dict__.get(HANDLER)
    if handler is not None:
        return handler
    if issubclass(cls, pathlib.PurePath):
        return FilePath(cls)
    return _adapter(cls) if is_pydantic(cls) else None


def _adapter(type_: Any) -> Any:
    # imported late: a server that never names pydantic must not pay for it, nor need it
    from trio_mcp import pydantic_support

    return pydantic_support.Adapter.of(type_)


# ---- reading the result


@attrs.frozen
class Shape:
    """A class with named fields, be it native to msgspec or a stand-in. `array`: its JSON form is an array."""

    cls: Any
    fields: tuple[mi.Field, ...]
    array: bool = False
    closed: bool = False
    tag_field: str | None = None
    tag: Any = None


def bare(node: mi.Type) -> mi.Type:
    """A node without the documentation around it."""
    while isinstance(node, mi.Metadata):
        node = node.type
    return node


def shape(node: mi.Type) -> Shape | None:
    """The fields of a class-like node (already bare), else None."""
    if isinstance(node, mi.StructType):
        return Shape(node.cls, node.fields, node.array_like, node.forbid_unknown_fields, node.tag_field, node.tag)
    if isinstance(node, mi.TypedDictType):
        order = list(getattr(get_origin(node.cls) or node.cls, "__annotations__", ()))
        known = {name: index for index, name in enumerate(order)}
        return Shape(node.cls, tuple(sorted(node.fields, key=lambda field: known.get(field.name, -1))))
    if isinstance(node, mi.DataclassType):
        return Shape(node.cls, node.fields)
    if isinstance(node, mi.NamedTupleType):
        return Shape(node.cls, node.fields, array=True)
    handler = handler_of(node.cls) if isinstance(node, mi.CustomType) else None
    if not isinstance(handler, Shadow):
        return None
    struct = cast(mi.StructType, mi.type_info(handler.struct))
    pairs = zip(struct.fields, handler.fields, strict=True)
    fields = (
        mi.Field(own.name, inner.encode_name, inner.type, inner.required, default=own.default) for inner, own in pairs
    )
    return Shape(
        handler.cls, tuple(fields), struct.array_like, struct.forbid_unknown_fields, struct.tag_field, struct.tag
    )


def arms(node: mi.Type) -> tuple[mi.Type, ...]:
    """The alternatives of a union node (already bare), else nothing."""
    if isinstance(node, mi.UnionType):
        return tuple(inner for arm in node.types for inner in (arms(bare(arm)) or (arm,)))
    handler = handler_of(node.cls) if isinstance(node, mi.CustomType) else None
    return tuple(mi.type_info(arm) for arm in handler.arms) if isinstance(handler, UnionOf) else ()


def closest(nodes: list[mi.Type], value: Any) -> list[int]:
    """Which alternatives drop the fewest members of an object: `{"y": 1}` is not meant for a class with `x`."""
    return _closest([_member_names(node) for node in nodes], value)


def _member_names(node: mi.Type) -> frozenset[str | None]:
    """The members of a class, empty for what is none: a dict drops nothing."""
    found = shape(bare(node))
    return frozenset({field.encode_name for field in found.fields} | {found.tag_field}) if found else frozenset()


def _closest(names: list[frozenset[str | None]], value: Any) -> list[int]:
    if not isinstance(value, Mapping):
        return list(range(len(names)))
    surplus = [len(set(value) - known) if known else 0 for known in names]
    return [index for index, count in enumerate(surplus) if count == min(surplus)]


# ---- metadata


@attrs.define
class Facts:
    """What the metadata of one annotation says."""

    limits: dict[str, Any] = attrs.field(factory=dict)
    docs: dict[str, Any] = attrs.field(factory=dict)
    extra: dict[str, Any] = attrs.field(factory=dict)
    alias: str | None = None
    default: Any = NODEFAULT
    default_factory: Any = None
    foreign: bool = False  # msgspec would not see the constraint
    pydantic: bool = False  # only pydantic can check it

    def limit(self, key: str, value: Any) -> None:
        """Add a constraint to what is there; the tighter one holds."""
        held = self.limits.get(key)
        if held is None or held == value:
            self.limits[key] = value
        elif key in _LOWER:
            self.limits[key] = max(held, value)
        elif key in _UPPER:
            self.limits[key] = min(held, value)
        else:
            raise SchemaError(f"{key} is given twice, as {held!r} and {value!r}: keep one")

    def settle(self) -> None:
        """msgspec takes one lower and one upper bound: keep the tighter of an open and a closed one."""
        for open_, closed, tighter in (("gt", "ge", max), ("lt", "le", min)):
            if open_ in self.limits and closed in self.limits:
                a, b = self.limits[open_], self.limits[closed]
                del self.limits[closed if tighter(a, b) == a else open_]

    def read(self, item: Any) -> None:
        """Read one metadata object; what belongs to nobody known is somebody else's marker and is left alone."""
        package = type(item).__module__.partition(".")[0]
        if isinstance(item, str):
            self.docs.setdefault("description", item)
        elif isinstance(item, msgspec.Meta):
            self._meta(item)
        elif package == "annotated_types":
            self._annotated_types(item)
        elif package == "pydantic":
            self._pydantic(item)
        elif type(item).__name__ == "Doc" and isinstance(getattr(item, "documentation", None), str):
            self.docs.setdefault("description", item.documentation)
        elif getattr(item, "__is_annotated_types_grouped_metadata__", False):
            self._group(item)

    def _meta(self, item: msgspec.Meta) -> None:
        for key in LIMITS:
            if (value := getattr(item, key)) is not None:
                self.limit(key, value)
        self.docs.update({key: value for key in DOCS if (value := getattr(item, key)) is not None})
        self.extra.update(item.extra_json_schema or {})

    def _group(self, item: Any) -> None:
        for inner in item:
            self.read(inner)

    def _annotated_types(self, item: Any) -> None:
        self.foreign = True
        name = type(item).__name__
        if name in _ANNOTATED_TYPES:
            key = _ANNOTATED_TYPES[name]
            self.limit(key, getattr(item, key))
        elif getattr(item, "__is_annotated_types_grouped_metadata__", False):
            self._group(item)
        elif name == "Timezone" and item.tz in (None, ...):
            self.limit("tz", item.tz is ...)
        else:
            raise SchemaError(f"annotated_types.{name} has no JSON Schema: check it inside the function")

    def _pydantic(self, item: Any) -> None:
        from trio_mcp import pydantic_support

        self.foreign = True
        if not pydantic_support.is_field(item):
            self._pydantic_constraint(item, pydantic_support.pattern_of(item))
            return
        try:
            facts = pydantic_support.field_facts(item)
        except pydantic_support.UnsupportedFieldError as error:
            raise SchemaError(str(error)) from None
        self.docs.update(facts.docs)
        self.extra.update(facts.extra)
        self.alias, self.default, self.default_factory = facts.alias, facts.default, facts.default_factory
        self.pydantic |= facts.validated_by_pydantic
        for inner in facts.metadata:
            self.read(inner)

    def _pydantic_constraint(self, item: Any, pattern: str | None) -> None:
        if pattern is not None:
            self.limit("pattern", pattern)
        elif getattr(item, "__is_annotated_types_grouped_metadata__", False):
            self._group(item)
        else:
            self.pydantic = True


def type_name(type_: Any) -> str:
    """A type as an author would write it."""
    return type_.__name__ if isinstance(type_, type) and not get_args(type_) else str(type_).replace("typing.", "")


def _info(type_: Any) -> mi.Type:
    try:
        return mi.type_info(type_)
    except NameError as error:
        raise SchemaError(f"{error}, while reading {type_name(type_)}: define it where the class is defined") from None
    except SchemaError:
        raise
    except (TypeError, ValueError, NotImplementedError, RecursionError, OverflowError, re.error) as error:
        raise SchemaError(str(error)) from None


def _accepts(node: mi.Type) -> frozenset[str]:
    """The constraints msgspec checks on a (bare) node."""
    if isinstance(node, mi.IntType | mi.FloatType):
        return _NUMERIC
    if isinstance(node, mi.StrType):
        return _LENGTH | {"pattern"}
    if isinstance(node, (*_BYTES, mi.CollectionType, mi.DictType)):
        return _LENGTH
    return frozenset({"tz"}) if isinstance(node, mi.DateTimeType | mi.TimeType) else frozenset()


def _whole(key: str, value: Any) -> int:
    """A bound on integers, as an integer: 1.5 ≤ n is 2 ≤ n."""
    if key == "multiple_of" and value != int(value):
        raise SchemaError(f"multiple_of={value} on an int: give a whole number")
    rounded: int = math.ceil(value) if key in ("ge", "lt") else math.floor(value)
    return rounded


# ---- annotations


@attrs.define(eq=False)
class Translator:
    """Rewrites the annotations of one function. `names`: what its forward references may mean besides globals."""

    names: Mapping[str, Any] = attrs.field(factory=dict)
    probing: bool = False
    essential: int = 0
    done: dict[Any, Any] = attrs.field(factory=dict)
    variables: dict[Any, Any] = attrs.field(factory=dict)

    def field(self, annotation: Any, *more: Any) -> tuple[Any, Facts]:
        """A parameter's or a field's annotation: the type for msgspec, and what the metadata says besides.

        `more` is further metadata, such as a pydantic `Field` that stands as a default value.
        Raises: SchemaError.
        """
        metadata: tuple[Any, ...] = more
        while True:
            if get_origin(annotation) in _QUALIFIERS or str(get_origin(annotation)) == "typing.ReadOnly":
                annotation = get_args(annotation)[0]
            elif get_origin(annotation) is Annotated:
                metadata = (*annotation.__metadata__, *metadata)
                annotation = annotation.__origin__
            else:
                break
        if not metadata:
            return self._plain(annotation), Facts()
        facts = Facts()
        for item in metadata:
            facts.read(item)
        if not facts.pydantic:
            return self._constrain(self._plain(annotation), facts), facts
        self.essential += 1
        metas = [item for item in metadata if isinstance(item, msgspec.Meta)]
        if any(getattr(item, key) is not None for item in metas for key in LIMITS):
            raise SchemaError("msgspec.Meta limits beside pydantic's validators: write the limits with pydantic")
        documented = Facts(docs=facts.docs, extra=facts.extra)
        return self._constrain(self._by_pydantic(Annotated[(annotation, *metadata)]), documented), facts

    def type(self, annotation: Any) -> Any:
        """An annotation inside another: the type for msgspec. Raises: SchemaError."""
        type_, facts = self.field(annotation)
        if facts.alias is not None or facts.default is not NODEFAULT or facts.default_factory is not None:
            where = type_name(annotation)
            raise SchemaError(f"a default or an alias inside {where} has no effect: put it on the parameter")
        return type_

    def _by_pydantic(self, annotation: Any) -> Any:
        try:
            return stand_in(type_name(annotation), _adapter(annotation))
        except TypeError as error:
            raise SchemaError(str(error)) from None

    def _constrain(self, type_: Any, facts: Facts) -> Any:
        """Put limits and documentation on a translated type."""
        limits = facts.limits
        facts.settle()
        if facts.foreign and limits:
            self.essential += 1
        if limits:
            type_ = self._limit(type_, limits)
        if not facts.docs and not facts.extra:
            return type_
        return Annotated[type_, msgspec.Meta(**facts.docs, extra_json_schema=facts.extra or None)]

    def _limit(self, type_: Any, limits: Mapping[str, Any]) -> Any:
        alternatives = self._alternatives(type_)
        if alternatives:
            self.essential += 1
            refused = set(limits)
            limited = []
            for arm in alternatives:
                taken = {key: limits[key] for key in _accepts(bare(_info(arm))) if key in limits}
                refused -= set(taken)
                limited.append(self._limit(arm, taken) if taken else arm)
            if refused:
                raise SchemaError(f"{', '.join(sorted(refused))} cannot be checked on any part of {type_name(type_)}")
            return self.union(limited)
        facts = Facts()
        if get_origin(type_) is Annotated:
            for item in type_.__metadata__:
                facts.read(item)
            type_ = type_.__origin__
            self.essential += bool(facts.limits)
        node = bare(_info(type_))
        for key, value in limits.items():
            if key not in _accepts(node):
                where = type_name(type_)
                raise SchemaError(f"{key}={value!r} cannot be checked on {where}: check it inside the function")
            facts.limit(key, value)
        facts.settle()
        if isinstance(node, mi.IntType):
            facts.limits = {key: _whole(key, value) for key, value in facts.limits.items()}
        try:
            meta = msgspec.Meta(**facts.limits, **facts.docs, extra_json_schema=facts.extra or None)
        except (TypeError, ValueError, re.error) as error:
            raise SchemaError(f"{', '.join(facts.limits)}: {error}") from None
        return Annotated[type_, meta]

    @staticmethod
    def _alternatives(type_: Any) -> tuple[Any, ...]:
        if get_origin(type_) in (Union, types.UnionType):
            return get_args(type_)
        handler = handler_of(type_) if isinstance(type_, _Anything) else None
        return handler.arms if isinstance(handler, UnionOf) else ()

    def union(self, alternatives: typing.Iterable[Any]) -> Any:
        """A union msgspec takes, or a stand-in that tries them in order."""
        flat = tuple(inner for arm in alternatives for inner in (self._alternatives(arm) or (arm,)))
        models = tuple(arm for arm in flat if arm is not None and arm is not type(None))
        if len(models) > 1 and all(is_pydantic(arm) for arm in models):
            self.essential += 1
            chosen = self._by_pydantic(_joined(models))  # pydantic tells its models apart better
            return chosen if len(models) == len(flat) else _joined((chosen, None))
        joined = _joined(flat)
        try:
            mi.type_info(joined)
        except (TypeError, NameError):
            pass
        else:
            return joined
        self.essential += 1
        if self.probing:
            return joined
        for arm in flat:
            _info(arm)
        rest = tuple(arm for arm in flat if arm is not type(None))
        if len(rest) == 1:
            return joined
        choice = stand_in(" | ".join(type_name(arm) for arm in rest), UnionOf(rest))
        return choice if len(rest) == len(flat) else _joined((choice, None))

    def _plain(self, t: Any) -> Any:
        origin, args = get_origin(t), get_args(t)
        if isinstance(t, str | typing.ForwardRef):
            raise SchemaError(f"the forward reference {t!r} cannot be resolved")
        if t is None or t is object or t is typing.LiteralString:
            return {None: None, object: Any}.get(t, str)
        if isinstance(t, TypeVar):
            return self._variable(t)
        if hasattr(t, "__supertype__"):
            return self.type(t.__supertype__)
        if type(t).__name__ == "TypeAliasType" or type(origin).__name__ == "TypeAliasType":
            return self.type(origin.__value__[args] if origin is not None else t.__value__)
        if origin in (Union, types.UnionType):
            return self.union([self.type(arm) for arm in args])
        if origin is Literal:
            return self._choice(t, [(arg.value if isinstance(arg, enum.Enum) else arg, arg) for arg in args])
        if isinstance(t, enum.EnumMeta):
            return self._choice(t, [(member.value, member) for member in cast(type[enum.Enum], t)])
        cls = origin or t
        if is_pydantic(cls):
            return self._pydantic_class(t)
        if isinstance(cls, type) and (any(hasattr(cls, mark) for mark in _TYPED) or _is_tuple_or_dict_class(cls)):
            return self._class(t, cls, args)
        if cls in _ITERABLES:
            return list[self.type(args[0])] if args else list  # type: ignore[misc] # a type made at run time
        return self._generic(t, cls, args)

    def _variable(self, variable: TypeVar) -> Any:
        if variable in self.variables:
            return self.variables[variable]
        if variable.__constraints__:
            return self.union([self.type(arm) for arm in variable.__constraints__])
        return Any if variable.__bound__ is None else self.type(variable.__bound__)

    def _generic(self, t: Any, cls: Any, args: tuple[Any, ...]) -> Any:
        if not args or not isinstance(cls, type) or cls is collections.abc.Callable:
            return t
        translated = tuple(arg if arg is ... else self.type(arg) for arg in args)
        same = all(new is old for new, old in zip(translated, args, strict=True))
        return t if same else cast(Any, cls)[translated]

    def _choice(self, t: Any, pairs: list[tuple[Any, Any]]) -> Any:
        try:
            mi.type_info(t)
        except TypeError:
            self.essential += 1
        else:
            return t
        if not all(json is None or isinstance(json, bool | int | float | str) for json, _ in pairs):
            raise SchemaError(f"the values of {type_name(t)} have no JSON form: use strings, numbers, booleans or None")
        return stand_in(type_name(t), Choice(tuple(pairs)))

    def _pydantic_class(self, t: Any) -> Any:
        try:
            if isinstance(t, type) and not get_args(t):
                handler_of(t)
                return t
            return stand_in(type_name(t), _adapter(t))
        except TypeError as error:
            raise SchemaError(str(error)) from None

    # -- classes with fields

    def _class(self, t: Any, cls: Any, args: tuple[Any, ...]) -> Any:
        if t in self.done:
            return self.done[t]
        if self.probing:
            self.done[t] = t
            self._translate_fields(t, cls, args)
            return t
        probe = Translator(self.names, probing=True)
        probe._class(t, cls, args)
        if not probe.essential:
            self.done[t] = t
            return t
        self.essential += 1
        shadow = Shadow(cls)
        self.done[t] = stand_in(cls.__name__, shadow)
        shadow.fields, translated = self._translate_fields(t, cls, args)
        shadow.struct = _struct(cls, shadow.fields, translated)
        return self.done[t]

    def _translate_fields(self, t: Any, cls: Any, args: tuple[Any, ...]) -> tuple[tuple[ClassField, ...], list[Any]]:
        inner = attrs.evolve(self, variables={})
        if args:
            parameters = getattr(cls, "__parameters__", ())
            inner.variables = {var: self.type(arg) for var, arg in zip(parameters, args, strict=False)}
        fields, translated = [], []
        for field in _class_fields(cls, self._hints(cls)):
            if type(field.default).__name__ == "FieldInfo":
                where = f"{cls.__name__}.{field.name}"
                raise SchemaError(f"pydantic's Field as the default of {where}: write it in Annotated[…]")
            try:
                type_, facts = inner.field(field.annotation)
            except SchemaError as error:
                raise SchemaError(f"field {field.name!r} of {cls.__name__}: {error}") from None
            if facts.default is not NODEFAULT or facts.default_factory is not None:
                where = f"{cls.__name__}.{field.name}"
                raise SchemaError(f"a default inside Annotated at {where}: write it as the field's own default")
            fields.append(attrs.evolve(field, wire=facts.alias or field.wire))
            inner.essential += facts.alias is not None
            translated.append(type_)
        self.essential = inner.essential
        return tuple(fields), translated

    def _hints(self, cls: Any) -> dict[str, Any]:
        try:
            return typing.get_type_hints(cls, include_extras=True)
        except NameError:
            self.essential += 1  # msgspec knows only the module's names
        try:
            return typing.get_type_hints(cls, localns={**vars(cls), **self.names}, include_extras=True)
        except NameError as error:
            where = f"the annotations of {cls.__name__}"
            raise SchemaError(f"{error}, in {where}: define it at the module's top level") from None


def _is_tuple_or_dict_class(cls: type) -> bool:
    return (issubclass(cls, tuple) and hasattr(cls, "_fields")) or (issubclass(cls, dict) and hasattr(cls, "__total__"))


def _class_fields(cls: Any, hints: Mapping[str, Any]) -> Iterator[ClassField]:
    if hasattr(cls, "__struct_config__"):
        for field in msgspec.structs.fields(cls):
            yield ClassField(
                field.name, field.encode_name, field.name, hints[field.name], field.required, _default(field)
            )
    elif hasattr(cls, "__dataclass_fields__"):
        for member in dataclasses.fields(cls):
            if member.init:
                default = member.default if member.default is not dataclasses.MISSING else NODEFAULT
                required = default is NODEFAULT and member.default_factory is dataclasses.MISSING
                yield ClassField(member.name, member.name, member.name, hints[member.name], required, default)
    elif hasattr(cls, "__attrs_attrs__"):
        for attribute in cls.__attrs_attrs__:
            if attribute.init:
                given = attribute.default is not attrs.NOTHING
                plain = given and not isinstance(attribute.default, cast(type, attrs.Factory))
                default = attribute.default if plain else NODEFAULT
                hint = hints.get(attribute.name, Any)
                yield ClassField(attribute.name, attribute.name, attribute.alias, hint, not given, default)
    elif issubclass(cls, tuple):
        for name in cls._fields:
            default = cls._field_defaults.get(name, NODEFAULT)
            yield ClassField(name, name, name, hints.get(name, Any), default is NODEFAULT, default)
    else:
        for name, hint in hints.items():
            origin = get_origin(hint)
            required = origin is typing.Required or (name in cls.__required_keys__ and origin is not typing.NotRequired)
            yield ClassField(name, name, name, hint, required)


def _default(field: msgspec.structs.FieldInfo) -> Any:
    return NODEFAULT if field.default is msgspec.UNSET else field.default


def _struct(cls: Any, fields: tuple[ClassField, ...], translated: list[Any]) -> Any:
    """The struct behind a stand-in. What the client leaves out stays ABSENT, so that the class's own defaults apply."""
    config = getattr(cls, "__struct_config__", None)
    members = []
    for index, (field, type_) in enumerate(zip(fields, translated, strict=True)):
        default = {} if field.required else {"default": ABSENT}
        members.append((f"f{index}", type_, msgspec.field(name=field.wire, **default)))
    options: dict[str, Any] = {}
    if config is not None:
        options = {"forbid_unknown_fields": config.forbid_unknown_fields, "array_like": config.array_like}
        if config.tag_field is not None:
            options |= {"tag": config.tag, "tag_field": config.tag_field}
    elif issubclass(cls, tuple):
        options = {"array_like": True, "forbid_unknown_fields": True}
    # keyword-only where required fields may follow optional ones, which an array's order could not bear
    return msgspec.defstruct(cls.__name__, members, kw_only=not options.get("array_like"), **options)

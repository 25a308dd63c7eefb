"""What an annotation means, said in msgspec's terms.

Owns: rewriting an annotation bottom up, and deciding where msgspec would refuse a type or take it without its
constraints: there stands a stand-in. What msgspec understands completely is left to msgspec. Refuses: JSON Schema and
faults, which read the result.

Whether a *class* must be replaced is found by a probing run over everything reachable from it, which counts what
msgspec would get wrong (`essential`); recursive classes need no more than that.
"""

import collections.abc
import enum
import math
import re
import types
import typing
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal, TypeVar, Union, cast, get_args, get_origin

import attrs
import msgspec
import msgspec.inspect as mi

from trio_mcp.schema.class_fields import NODEFAULT, ClassField, class_fields, has_fields, struct_for
from trio_mcp.schema.errors import SchemaError, type_name
from trio_mcp.schema.metadata import LIMITS, Facts
from trio_mcp.schema.stand_ins import HANDLER, Choice, Shadow, adapter_for, handler_of, is_pydantic, stand_in
from trio_mcp.schema.tree import bare
from trio_mcp.schema.unions import UnionOf

_NUMERIC: Final = frozenset({"gt", "ge", "lt", "le", "multiple_of"})
_LENGTH: Final = frozenset({"min_length", "max_length"})
_BYTES: Final = (mi.BytesType, mi.ByteArrayType, mi.MemoryViewType)
_QUALIFIERS: Final = (typing.Required, typing.NotRequired, typing.Final, typing.ClassVar)
_ITERABLES: Final = (collections.abc.Iterable, collections.abc.Iterator, collections.abc.Reversible)


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

    @staticmethod
    def _by_pydantic(annotation: Any) -> Any:
        return stand_in(type_name(annotation), adapter_for(annotation))

    def _constrain(self, type_: Any, facts: Facts) -> Any:
        """Put limits and documentation on a translated type."""
        if facts.limits:
            facts.settle()
            self.essential += facts.foreign
            type_ = self._limit(type_, facts.limits)
        if not facts.docs and not facts.extra:
            return type_
        return Annotated[type_, Facts(docs=facts.docs, extra=facts.extra).meta()]

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
            return Annotated[type_, facts.meta()]
        except (TypeError, ValueError, re.error) as error:
            raise SchemaError(f"{', '.join(facts.limits)}: {error}") from None

    @staticmethod
    def _alternatives(type_: Any) -> tuple[Any, ...]:
        if get_origin(type_) in (Union, types.UnionType):
            return get_args(type_)
        handler = getattr(type_, HANDLER, None)
        return handler.arms if isinstance(handler, UnionOf) else ()

    def union(self, alternatives: Iterable[Any]) -> Any:
        """A union msgspec takes, or a stand-in that tries them in order."""
        flat = tuple(inner for arm in alternatives for inner in (self._alternatives(arm) or (arm,)))
        models = tuple(arm for arm in flat if arm is not None and arm is not type(None))
        if len(models) > 1 and all(is_pydantic(arm) for arm in models):
            self.essential += 1
            chosen = self._by_pydantic(_either(*models))  # pydantic tells its models apart better
            return chosen if len(models) == len(flat) else _either(chosen, None)
        joined = _either(*flat)
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
        return choice if len(rest) == len(flat) else _either(choice, None)

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
        if isinstance(cls, type) and has_fields(cls):
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
        if not isinstance(t, type) or get_args(t):
            return self._by_pydantic(t)
        handler_of(t)  # now rather than at the first call, where pydantic cannot build it
        return t

    # -- classes with fields

    def _class(self, t: Any, cls: Any, args: tuple[Any, ...]) -> Any:
        if t in self.done:
            return self.done[t]
        if self.probing:
            self.done[t] = t
            self._translate_fields(cls, args)
            return t
        probe = Translator(self.names, probing=True)
        probe._class(t, cls, args)
        if not probe.essential:
            self.done[t] = t
            return t
        self.essential += 1
        shadow = Shadow(cls)
        self.done[t] = stand_in(cls.__name__, shadow)
        shadow.fields, translated = self._translate_fields(cls, args)
        shadow.struct = struct_for(cls, shadow.fields, translated)
        return self.done[t]

    def _translate_fields(self, cls: Any, args: tuple[Any, ...]) -> tuple[tuple[ClassField, ...], list[Any]]:
        hints = self._hints(cls)
        inner = attrs.evolve(self, variables={})
        if args:
            parameters = getattr(cls, "__parameters__", ())
            inner.variables = {var: self.type(arg) for var, arg in zip(parameters, args, strict=False)}
        fields, translated = [], []
        for field in class_fields(cls, hints):
            where = f"{cls.__name__}.{field.name}"
            if type(field.default).__name__ == "FieldInfo":
                raise SchemaError(f"pydantic's Field as the default of {where}: write it in Annotated[…]")
            try:
                type_, facts = inner.field(field.annotation)
            except SchemaError as error:
                raise SchemaError(f"field {field.name!r} of {cls.__name__}: {error}") from None
            if facts.default is not NODEFAULT or facts.default_factory is not None:
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


def _either(*alternatives: Any) -> Any:
    return cast(Any, Union)[alternatives]


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

"""A function's parameters, compiled: their `inputSchema`, and the keyword arguments out of what a client sent.

Owns: which parameters a client sees, their defaults, and the way from JSON to values. Refuses: return annotations
(`output`).
"""

import copy
import functools
import inspect
from collections.abc import Callable, Collection, Mapping
from typing import Annotated, Any, Final, cast, get_args, get_origin

import attrs
import msgspec
import msgspec.inspect as mi

from trio_mcp.schema import docstrings
from trio_mcp.schema.class_fields import NODEFAULT
from trio_mcp.schema.describer import Describer, object_schema
from trio_mcp.schema.errors import ArgumentsError, Fault, SchemaError
from trio_mcp.schema.faults import find_faults
from trio_mcp.schema.metadata import LIMITS
from trio_mcp.schema.repair import repaired
from trio_mcp.schema.signatures import called, hints_of, injected, place, reason, signature_of, target_of
from trio_mcp.schema.stand_ins import REFUSALS, build, hook
from trio_mcp.schema.translator import Translator

MAX_REPAIRED: Final = 1 << 20  # bytes: no model writes more, and a repair is a walk in Python


@attrs.frozen(slots=True)
class Arguments:
    """The parameters of one function, compiled.

    Attributes:
        schema: the `inputSchema`; its root is an object.
        hidden: the parameters that are injected by their type, and that type.
        names: the visible parameters in order, as a client sends them.
    """

    schema: dict[str, Any]
    hidden: Mapping[str, type]
    names: tuple[str, ...]
    _strict: bool
    _struct: Any
    _decode: Callable[[bytes | msgspec.Raw], Any]

    def decode(self, raw: bytes | msgspec.Raw) -> dict[str, Any]:
        """The keyword arguments in a JSON object; nothing at all, or `null`, is the empty object.

        Raises: ArgumentsError, with every fault, whatever the bytes are.
        """
        try:
            return msgspec.structs.asdict(self._decode(raw))
        except REFUSALS:
            return self._decode_again(bytes(raw))

    def convert(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """The keyword arguments from Python values.

        Strings stand for any scalar even where the function is strict: prompt arguments and the variables of a URI
        template cannot arrive as anything else. Raises: ArgumentsError, with every fault.
        """
        try:
            return msgspec.structs.asdict(build(dict(values), self._struct, False))
        except REFUSALS:
            return self._convert(dict(values), strict=False, repair=True)

    def _decode_again(self, raw: bytes) -> dict[str, Any]:
        if raw.strip() in (b"", b"null"):
            raw = b"{}"
        try:
            values = msgspec.json.decode(raw)
        except RecursionError:
            raise ArgumentsError([Fault("$", "nested too deeply")]) from None
        except UnicodeDecodeError as error:
            raise ArgumentsError([Fault("$", f"not valid UTF-8: {error.reason}")]) from None
        except (msgspec.MsgspecError, ValueError) as error:
            raise ArgumentsError([Fault("$", f"not valid JSON: {error}")]) from None
        return self._convert(values, strict=self._strict, repair=not self._strict and len(raw) <= MAX_REPAIRED)

    def _convert(self, values: Any, *, strict: bool, repair: bool) -> dict[str, Any]:
        node = mi.type_info(self._struct)
        try:
            if repair:
                values = repaired(node, values)
            return msgspec.structs.asdict(build(values, self._struct, strict))
        except REFUSALS as error:
            raise ArgumentsError(find_faults(node, values, strict, error)) from None


@attrs.frozen
class _Parameter:
    """A visible parameter, translated. `wire`: what the client calls it."""

    name: str
    wire: str
    type: Any
    required: bool
    default: Any = NODEFAULT
    factory: Callable[[], Any] | None = None

    def member(self) -> tuple[str, Any, Any]:
        """Its field in the struct that the arguments are decoded into."""
        how: dict[str, Any] = {}
        if self.factory is not None:
            how = {"default_factory": self.factory}
        elif isinstance(self.default, list | dict | set | bytearray):
            how = {"default_factory": _copier(self.default)}  # one call's changes must not reach the next
        elif isinstance(self.default, msgspec.Struct):  # msgspec refuses a mutable one as a plain default
            how = {"default_factory": lambda: self.default}
        elif not self.required:
            how = {"default": self.default}
        return self.name, self.type, msgspec.field(name=self.wire, **how)


def _copier(default: Any) -> Callable[[], Any]:
    items = default.values() if isinstance(default, dict) else default
    flat = all(isinstance(item, str | int | float | None) for item in items)
    return cast(Callable[[], Any], default.copy) if flat else functools.partial(copy.deepcopy, default)


def _parameter(given: inspect.Parameter, annotation: Any, translator: Translator) -> _Parameter:
    if given.kind in (given.VAR_POSITIONAL, given.VAR_KEYWORD):
        raise SchemaError("a client cannot send it: name each parameter, or take one dict")
    if given.kind is given.POSITIONAL_ONLY:
        raise SchemaError("it is positional-only, and arguments are given by name: remove the '/'")
    if given.name.startswith("__"):
        raise SchemaError("a name with two leading underscores cannot be decoded: rename it")
    is_field = type(given.default).__name__ == "FieldInfo" and type(given.default).__module__.startswith("pydantic")
    type_, facts = translator.field(annotation, *((given.default,) if is_field else ()))
    default = facts.default
    if not is_field and given.default is not given.empty:
        default = given.default
    if default is None and type_ is not Any:
        type_ = _optional(type_, translator)
    factory = facts.default_factory if default is NODEFAULT else None
    required = default is NODEFAULT and factory is None
    return _Parameter(given.name, facts.alias or given.name, type_, required, default, factory)


def _optional(type_: Any, translator: Translator) -> Any:
    """A default of None says that None is allowed, and clients send back the default they read in the schema."""
    if get_origin(type_) is Annotated:  # what is said of the parameter stays outside, what limits its values goes in
        said = [item for item in type_.__metadata__ if all(getattr(item, key, None) is None for key in LIMITS)]
        limits = [item for item in type_.__metadata__ if item not in said]
        inner = Annotated[(type_.__origin__, *limits)] if limits else _optional(type_.__origin__, translator)
        inner = translator.union([inner, None]) if limits else inner
        return Annotated[(inner, *said)] if said else inner
    if type_ is None or type_ is Any or type(None) in get_args(type_):
        return type_
    return translator.union([type_, None])


def compile_arguments(
    function: Callable[..., Any],
    *,
    hidden: Collection[type] = (),
    strict: bool = False,
    exclude: Collection[str] = (),
) -> Arguments:
    """Compile a function's parameters.

    Args:
        function: a function, method, partial or callable object.
        hidden: types that the server injects; parameters of these types are left out of the schema.
        strict: refuse `"10"` for an integer, JSON text for a list, and arguments the function does not have.
        exclude: names of parameters to leave out besides; they must have defaults or be given by the caller.

    Raises:
        SchemaError: something has no JSON Schema; names the function and the parameter.
    """
    where = called(function)
    hints, names = hints_of(function, returned=False)
    translator, describer = Translator(names), Describer()
    documented = docstrings.parse(inspect.getdoc(target_of(function))).params
    parameters: list[_Parameter] = []
    properties: dict[str, dict[str, Any]] = {}
    found: dict[str, type] = {}
    for given in signature_of(function).parameters.values():
        annotation = hints.get(given.name, Any)
        if given.name in exclude:
            continue
        if (wanted := injected(annotation, hidden)) is not None:
            found[given.name] = wanted
            continue
        try:
            parameter = _parameter(given, annotation, translator)
            node, text = mi.type_info(parameter.type), documented.get(parameter.name)
            properties[parameter.wire] = describer.member(node, text, parameter.default, parameter.factory)
        except (TypeError, ValueError, NameError, RecursionError) as error:
            raise SchemaError(f"{where}: {place(given.name)}: {reason(error)}") from None
        parameters.append(parameter)
    if len(properties) != len(parameters):
        raise SchemaError(f"{where}: two parameters have the same alias")
    try:
        struct, decode = _decoder(parameters, strict)
    except (TypeError, ValueError, RuntimeError) as error:
        raise SchemaError(f"{where}: {error}") from None
    required = [parameter.wire for parameter in parameters if parameter.required]
    schema = describer.root(object_schema(properties, required, closed=strict))
    return Arguments(schema, found, tuple(properties), strict, struct, decode)


def _decoder(parameters: list[_Parameter], strict: bool) -> tuple[Any, Callable[[bytes | msgspec.Raw], Any]]:
    members = [parameter.member() for parameter in parameters]
    struct = msgspec.defstruct("Arguments", members, kw_only=True, forbid_unknown_fields=strict)
    return struct, msgspec.json.Decoder(struct, strict=strict, dec_hook=hook(strict)).decode

"""The house's rules, read from the source: who may import whom, who opens nurseries, who catches everything.

Each rule is a function from one `Source` to a list of violations; `cycle` reads them all together. This module refuses
to run them: `test_layering` does, over the package and over snippets that each rule must refuse.
"""

import ast
import graphlib
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = "trio_mcp"

# A package below trio_mcp has its rank here; imports go from a higher rank to a lower one, or stay within one.
RANKS = {
    "wire": 0,
    "protocol": 1,
    "schema": 2,
    "auth": 2,
    "runtime": 3,
    "transports": 4,
    "http": 4,
    "check": 4,
    "ops": 5,
    "serve": 6,
    "cli": 6,
}
AUTHORING = 2  # every other module directly in trio_mcp/
ANYTHING = 7  # may import everything, the public names too; nothing but each other may import them
TOP = {"testing", "__init__", "__main__"}

# Where nurseries open, and whose they are.
NURSERY_OWNERS = {
    "serve.py": "the servers of one process",
    "runtime/host.py": "the sessions of one server",
    "runtime/session.py": "the writers, keepalive and calls of one session",
    "runtime/pipe.py": "the calls of one duplex message stream",
    "runtime/sqlite_store.py": "the writing and the pruning of one event store's file",
    "http/worker.py": "the connections of one listener",
    "http/connection.py": "one connection, and beside a request the task that reads ahead where no socket is",
    "http/asgi.py": "one exchange on a foreign server: its watch for a disconnect",
    "http/lifespan.py": "one application's lifespan on a foreign server",
    "check/http_talk.py": "the requests that one check sends at once",
    "cli/checking.py": "the server of a TARGET, for the time of its check",
    "cli/reload.py": "the one server process of `--reload`, the changes and signals that end it",
    "cli/supervisor.py": "the workers of one command",
    "cli/workers.py": "in the parent its supervisor and signals, in a worker what it obeys beside its server",
    "http/websocket.py": "one WebSocket: its pipe, its pings, its watch for the drain",
    "client/": "one client's connection",
    "testing/client/client.py": "one client of a simulation: what reads its streams, what sends its requests",
    "testing/server.py": "one simulated server: its worker, its pipes; and the block that it is served for",
    "testing/simulation.py": "one simulated run: what carries its network, and its watch for a hang",
}

# Where everything may be caught, and what becomes of it there.
CATCH_ALL_OWNERS = {
    "runtime/dispatch.py": "an author's function failed: -32603 or isError, logged once",
    "runtime/host.py": "a session crashed: it ends alone, logged once",
    "cli/": "an author's module failed to import: one line, exit code 2",
    "check/runner.py": "a stranger's answer met what nobody foresaw: it becomes its row",
    "http/connection.py": "a foreign application failed under our lane: 500, or its connection ends, logged once",
    "http/worker.py": "one connection failed: it ends alone, logged once",
    "http/handover.py": "one HTTP/2 stream or foreign connection failed: it ends alone, logged",
    "http/custom_route.py": "an author's route failed: 500, logged once",
    "http/handed_app.py": "an application failed over HTTP/2 or WebSocket: 500, logged once",
    "http/lifespan.py": "startup failed: told to the foreign server, whose way to say it is a message",
    "testing/server.py": "the block under test failed: raised once its server has ended",
    "testing/simulation.py": "a run failed: that is its outcome, told with its seed",
}

HYPERCORN_OWNERS = ("http/handover.py", "http/websocket_stream.py", "http/worker.py")
HTTPTOOLS_OWNERS = ("http/parser.py",)
SLEEP_OWNER = "testing/world.py"  # replaces it, so that it takes virtual time
DATES_OWNER = "protocol/revisions.py"
# What computes and holds data, and neither waits nor reads anything from outside.
WIRE_STDLIB = {
    *("abc", "base64", "binascii", "collections", "dataclasses", "datetime", "decimal", "enum", "functools"),
    *("itertools", "json", "math", "operator", "re", "string", "types", "typing", "uuid"),
}
NOT_IN_PROTOCOL = {"trio", "time", "logging", "threading", "hypercorn", "httptools"}


class Source:
    """The text of one module, and what the rules ask of it."""

    def __init__(self, path: str, text: str) -> None:
        self.path = path
        self.text = text
        parts = path.removesuffix(".py").split("/")
        self.module = ".".join([PACKAGE, *(parts[:-1] if parts[-1] == "__init__" else parts)])
        self.top = parts[0]

    @cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text, self.path)

    @cached_property
    def nodes(self) -> list[ast.AST]:
        return list(ast.walk(self.tree))

    @cached_property
    def commented_lines(self) -> set[int]:
        """The lines with a comment for people."""
        tokens = tokenize.generate_tokens(io.StringIO(self.text).readline)
        return {
            token.start[0]
            for token in tokens
            if token.type == tokenize.COMMENT and not re.match(r"#\s*(noqa|type:|pragma:|fmt:)", token.string)
        }

    @property
    def rank(self) -> int:
        return rank_of(self.top)

    @property
    def has_a_place(self) -> bool:
        """A folder stands in a table; a module directly in the package need not."""
        return "/" not in self.path or self.top in RANKS or self.top in TOP

    def at(self, node: ast.AST, what: str) -> str:
        return f"{self.path}:{getattr(node, 'lineno', 0)}: {what}"


def rank_of(top: str) -> int:
    return ANYTHING if top in TOP else RANKS.get(top, AUTHORING)


def read_package() -> dict[str, Source]:
    folder = ROOT / PACKAGE
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.py"))
    sources = [Source(path, (folder / path).read_text(encoding="utf-8")) for path in paths]
    return {source.module: source for source in sources}


SOURCES = read_package()


# What is imported


def imports(source: Source) -> Iterator[tuple[ast.AST, str, str | None]]:
    """Every import, inside functions and by `import_module("…")` too: the node, the module, the name taken from it."""
    for node in source.nodes:
        match node:
            case ast.Import(names=names):
                for alias in names:
                    yield node, alias.name, None
            case ast.ImportFrom(module=module, names=names, level=level):
                if level:
                    parents = source.path.split("/")[:-1]
                    kept = [PACKAGE, *parents][: len(parents) + 2 - level]
                    module = ".".join([*kept, *([module] if module else [])])
                for alias in names:
                    yield node, module or "", alias.name
            case ast.Call(args=[ast.Constant(value=str(module)), *_]) if called(node) in (
                "import_module",
                "__import__",
            ):
                yield node, module, None


def called(node: ast.AST) -> str:
    """The last name of what is called: `open_nursery` of `trio.open_nursery()`."""
    return last_name(node.func) if isinstance(node, ast.Call) else ""


def last_name(node: ast.AST | None) -> str:
    match node:
        case ast.Attribute(attr=name) | ast.Name(id=name):
            return name
        case ast.Call(func=func):
            return last_name(func)
    return ""


def imports_within(source: Source, modules: dict[str, Source]) -> Iterator[tuple[ast.AST, str]]:
    """The modules of this package that one imports; `from package import name` is the submodule where there is one."""
    for node, module, name in imports(source):
        if module.split(".")[0] == PACKAGE:
            submodule = f"{module}.{name}"
            yield node, submodule if submodule in modules or (module == PACKAGE and is_submodule(name)) else module


def is_submodule(name: str | None) -> bool:
    """A folder without `__init__.py` is one, too."""
    return name is not None and (ROOT / PACKAGE / name).is_dir()


def outside_imports(source: Source) -> Iterator[tuple[ast.AST, str]]:
    for node, module, _ in imports(source):
        if (top := module.split(".")[0]) != PACKAGE:
            yield node, top


# Rules on one module


def imports_go_downward(source: Source) -> list[str]:
    if not source.has_a_place:
        return [f"{source.path}: give the folder {source.top}/ its rank in RANKS of {Path(__file__).name}"]
    found = []
    for node, module in imports_within(source, SOURCES):
        if module == PACKAGE:
            if source.rank != ANYTHING:
                found.append(source.at(node, "imports public names from inside; import the module that defines them"))
        elif module != f"{PACKAGE}.version" and rank_of(module.split(".")[1]) > source.rank:
            found.append(source.at(node, f"imports {module}, which is above it"))
    return found


def wire_imports_only_msgspec(source: Source) -> list[str]:
    if source.top != "wire":
        return []
    upward = [source.at(node, m) for node, m in imports_within(source, SOURCES) if not m.startswith(f"{PACKAGE}.wire")]
    outside = [source.at(node, m) for node, m in outside_imports(source) if m not in WIRE_STDLIB | {"msgspec"}]
    return upward + outside


def protocol_knows_no_clock_no_task_no_log(source: Source) -> list[str]:
    if source.top != "protocol":
        return []
    return [
        source.at(node, f"imports {module}") for node, module in outside_imports(source) if module in NOT_IN_PROTOCOL
    ]


def the_http_server_is_known_only_to_its_seam(source: Source) -> list[str]:
    owners = {"hypercorn": HYPERCORN_OWNERS, "httptools": HTTPTOOLS_OWNERS}
    return [
        source.at(node, f"imports {module}")
        for node, module in outside_imports(source)
        if source.path not in owners.get(module, {source.path})
    ]


def no_asyncio(source: Source) -> list[str]:
    return [
        source.at(node, f"imports {name}") for node, name in outside_imports(source) if name in ("asyncio", "anyio")
    ]


def no_type_checking_blocks(source: Source) -> list[str]:
    names = [node for node in source.nodes if last_name(node) == "TYPE_CHECKING"]
    aliases = [node for node, _, name in imports(source) if name == "TYPE_CHECKING"]
    return [source.at(node, "TYPE_CHECKING hides a cycle") for node in names + aliases]


def nurseries_open_only_at_their_owners(source: Source) -> list[str]:
    named = {
        id(item.context_expr)
        for node in source.nodes
        if isinstance(node, ast.AsyncWith)
        for item in node.items
        if last_name(item.optional_vars).endswith("_nursery")
    }
    found = []
    for node in source.nodes:
        if called(node) == "open_nursery":
            if not owned(source.path, NURSERY_OWNERS):
                found.append(source.at(node, "opens a nursery and is no owner of one"))
            if id(node) not in named:
                found.append(source.at(node, "a nursery's variable says whose it is: … as session_nursery"))
    return found


def owned(path: str, owners: dict[str, str]) -> bool:
    return any(path.startswith(owner) if owner.endswith("/") else path == owner for owner in owners)


def every_task_has_a_name(source: Source) -> list[str]:
    found = []
    for node in source.nodes:
        match node:
            case ast.Call(func=ast.Attribute(attr="start_soon" | "start" as verb, value=target), keywords=keywords):
                on_nursery = verb == "start_soon" or last_name(target).endswith("nursery")
                if on_nursery and not any(keyword.arg == "name" for keyword in keywords):
                    found.append(source.at(node, f"{verb} without name="))
    return found


def no_system_tasks(source: Source) -> list[str]:
    """Every other task is inside a nursery, which ends no earlier than they do."""
    names = [node for node in source.nodes if isinstance(node, ast.Name | ast.Attribute)]
    return [source.at(node, "a task that nobody owns") for node in names if last_name(node) == "spawn_system_task"]


def every_shield_gives_its_reason(source: Source) -> list[str]:
    found = []
    for node in source.nodes:
        match node:
            case ast.Call(keywords=keywords):
                shields = [keyword.value for keyword in keywords if keyword.arg == "shield"]
            case ast.Assign(targets=[ast.Attribute(attr="shield")], value=value):
                shields = [value]
            case _:
                continue
        for value in shields:
            plain_no = isinstance(value, ast.Constant) and value.value is False
            lines = range(node.lineno - 1, value.lineno + 1)
            if not plain_no and source.commented_lines.isdisjoint(lines):
                found.append(source.at(node, "a shield without its reason in a comment here or on the line before"))
    return found


def no_time_sleep(source: Source) -> list[str]:
    if source.path == SLEEP_OWNER:
        return []
    calls = [node for node in source.nodes if isinstance(node, ast.Attribute) and ast.unparse(node) == "time.sleep"]
    names = [node for node, module, name in imports(source) if (module, name) == ("time", "sleep")]
    return [source.at(node, "time.sleep blocks every task") for node in calls + names]


def own_nodes(function: ast.AST) -> Iterator[ast.AST]:
    """What stands in a function itself, and not in the functions within it."""
    for child in ast.iter_child_nodes(function):
        if not isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda | ast.ClassDef):
            yield child
            yield from own_nodes(child)


def no_async_generators(source: Source) -> list[str]:
    found = []
    for node in source.nodes:
        match node:
            case ast.AsyncFunctionDef(decorator_list=decorators):
                manages = any(last_name(decorator) == "asynccontextmanager" for decorator in decorators)
                if not manages and any(isinstance(inner, ast.Yield) for inner in own_nodes(node)):
                    found.append(source.at(node, "an async generator"))
            case ast.GeneratorExp(generators=generators) if any(generator.is_async for generator in generators):
                found.append(source.at(node, "an async generator expression"))
    return found


def everything_is_caught_only_at_the_boundaries(source: Source) -> list[str]:
    if owned(source.path, CATCH_ALL_OWNERS):
        return []
    found = []
    for node in source.nodes:
        match node:
            case ast.ExceptHandler(type=None):
                caught = ["everything"]
            case ast.ExceptHandler(type=ast.Tuple(elts=kinds)):
                caught = [last_name(kind) for kind in kinds]
            case ast.ExceptHandler(type=kind):
                caught = [last_name(kind)]
            case ast.Call(args=kinds) if called(node) == "suppress":
                caught = [last_name(kind) for kind in kinds]
            case _:
                continue
        if wide := {"everything", "Exception", "BaseException"}.intersection(caught):
            found.append(source.at(node, f"catches {', '.join(sorted(wide))}"))
    return found


def revision_dates_are_written_once(source: Source) -> list[str]:
    if source.path == DATES_OWNER:
        return []
    prose = {id(node.value) for node in source.nodes if isinstance(node, ast.Expr)}
    found = []
    for node in source.nodes:
        if isinstance(node, ast.Constant) and id(node) not in prose:
            text = node.value.decode("latin-1") if isinstance(node.value, bytes) else node.value
            if isinstance(text, str) and re.search(r"20\d\d-\d\d-\d\d", text):
                found.append(source.at(node, f"writes the date {text!r}; ask {DATES_OWNER}"))
    return found


# The rule on all modules


def cycle(modules: dict[str, Source]) -> list[str]:
    """One cycle of imports, those inside functions counted, or nothing."""
    graph = {name: {module for _, module in imports_within(source, modules)} for name, source in modules.items()}
    try:
        graphlib.TopologicalSorter(graph).prepare()
    except graphlib.CycleError as error:
        return list(reversed(error.args[1]))
    return []

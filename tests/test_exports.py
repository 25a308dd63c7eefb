"""The public names: `trio_mcp.__all__` is what `trio_mcp/__init__.py` imports, sorted, and each explains itself."""

import ast
import inspect
import types
from pathlib import Path

import pytest

import trio_mcp

INIT = Path(__file__).parent.parent / "trio_mcp" / "__init__.py"


def imported_names(text: str) -> list[str]:
    """The public names that a module imports at its top."""
    return [
        alias.asname or alias.name
        for node in ast.parse(text).body
        if isinstance(node, ast.Import | ast.ImportFrom)
        for alias in node.names
    ]


def lacks_docstring(exported: object) -> bool:
    """A docstring that a dataclass wrote for itself (its signature), or that is inherited, explains nothing."""
    own = vars(exported).get("__doc__") if isinstance(exported, type) else inspect.getdoc(exported)
    generated = isinstance(exported, type) and (own or "").startswith(f"{exported.__name__}(")
    return generated or not (own or "").strip()


def test_all_is_what_is_imported_and_sorted():
    assert list(trio_mcp.__all__) == sorted(imported_names(INIT.read_text(encoding="utf-8")))


@pytest.mark.parametrize("name", getattr(trio_mcp, "__all__", ["__all__"]))
def test_a_public_name_is_documented(name: str):
    exported = getattr(trio_mcp, name)
    assert not isinstance(exported, types.ModuleType)
    assert name == "__version__" or not lacks_docstring(exported)


def test_the_package_says_what_it_is():
    assert not lacks_docstring(trio_mcp)


def test_importing_a_name_twice_or_under_another_name_is_seen():
    text = "from a import b, b as c\nimport d.e\ndef f():\n    import g\nH = 1"
    assert imported_names(text) == ["b", "c", "d.e"]


def test_a_missing_inherited_or_generated_docstring_is_seen():
    class Parent:
        """Explains."""

    class Child(Parent):
        pass

    class Generated:
        """Generated(x: int)"""

    def bare() -> None:
        pass

    assert not lacks_docstring(Parent)
    assert [lacks_docstring(one) for one in (Child, Generated, bare)] == [True, True, True]

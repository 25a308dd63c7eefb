"""The first document's basic example. It computes, where that one gives what a client writes to `eval`."""

import ast
import operator
from collections.abc import Callable

from trio_mcp import Server

OPERATORS: dict[type, Callable[[float, float], float]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}

mcp = Server("Demo SSE Server")


@mcp.tool()
def get_weather(city: str) -> str:
    """Get the weather for a city."""
    return f"The weather in {city} is sunny and 72°F"


@mcp.tool()
def calculate(expression: str) -> str:
    """Evaluate a mathematical expression."""
    try:
        return f"Result: {value_of(ast.parse(expression, mode='eval').body):g}"
    except Exception as error:
        return f"Error: {error}"


def value_of(node: ast.expr) -> float:
    if isinstance(node, ast.Constant) and isinstance(node.value, (int, float)):
        return node.value
    if isinstance(node, ast.BinOp) and type(node.op) in OPERATORS:
        return OPERATORS[type(node.op)](value_of(node.left), value_of(node.right))
    raise ValueError("only numbers and + - * /")

"""Python signatures as JSON Schema 2020-12, and values built to them: tool arguments, prompt arguments, results.

Owns: `inputSchema` and `outputSchema`, decoding with one msgspec decode on the way that works, and the list of
every fault on the way that does not. Refuses: hand-written schemas (`json_schema`). Sync and pure: no trio, no I/O.

Theory of operation: `signatures` reads a function's annotations; `translator` says each in msgspec's terms, with a
stand-in class for what msgspec would refuse or misread. msgspec's tree of the result has three readings, which have to
agree on every kind of node (`tree`): `describer` writes its JSON Schema, `repair` parses the JSON text that models
write in place of objects, `faults` finds what is wrong with a value. `arguments`, `output` and `single_type` join them.
"""

from trio_mcp.schema.arguments import Arguments, compile_arguments
from trio_mcp.schema.errors import ArgumentsError, Fault, OutputError, SchemaError
from trio_mcp.schema.output import Output, compile_output
from trio_mcp.schema.single_type import convert, schema_of

__all__ = [
    "Arguments",
    "ArgumentsError",
    "Fault",
    "Output",
    "OutputError",
    "SchemaError",
    "compile_arguments",
    "compile_output",
    "convert",
    "schema_of",
]

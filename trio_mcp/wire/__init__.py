"""Layer 0: bytes to typed values and back, with msgspec and nothing else.

One superset struct stands for each category of the schema in all five revisions. What a revision does
not know is left out by `trio_mcp.protocol.shaping`, never here. This package refuses: any rule about who
may say what when, any I/O, any clock.
"""

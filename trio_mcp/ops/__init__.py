"""Layer 5: operational concerns, one small ASGI wrapper each. `trio_mcp.serve` decides their order."""

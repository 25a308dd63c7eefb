"""Layer 1: who may say what when. Sync, and without trio, clocks, logging or sockets.

Session era and per-request era stand side by side in `session` and `per_request`; all else asks a `Revision`
for a fact. What is wrong with a message leaves here as a `McpError`.
"""

"""The compliance check: a small client of its own that asks a server what the specification asks of it.

It owns the checks, the conversations they need and the report. It knows `wire` and `protocol`, and refuses to know any
server of ours: what it says must hold for foreign ones, too.
"""

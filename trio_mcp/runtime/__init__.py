"""Layer 3: trio tasks. A session is a nursery, a call is a task in it, a stream is an outlet with bounded frames.

`session` and `per_request` stand side by side, one for each era; `host` owns what outlives a request. It refuses to
know HTTP.
"""

"""Layer 4: Streamable HTTP as an ASGI application, and the worker that serves it.

`app` is the one fork between the eras; each has an endpoint of its own. Only `worker` and `connection` know hypercorn.
"""

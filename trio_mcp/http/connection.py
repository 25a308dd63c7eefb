"""One connection. Today hypercorn's own; this class is the seam where our HTTP/1.1 lane goes in.

What the rest of the project relies on: the application runs in a task of the connection's nursery, `receive` tells
of a disconnect while the application works, and a cancelled connection ends.
"""

from hypercorn.trio.tcp_server import TCPServer


class Connection(TCPServer):
    """A connection as hypercorn runs it: HTTP/1.1, HTTP/2 and WebSocket by what the client speaks."""

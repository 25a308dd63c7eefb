"""What a server is to listen on, tried before anything is started for it: the address, and the certificate.

It refuses to listen for long: `http.worker` does.
"""

import socket
import ssl
import sys

from trio_mcp.cli.errors import CliError, told
from trio_mcp.http.worker import listen_on


def check_certificate(certfile: str | None, keyfile: str | None) -> None:
    """Try a certificate and its key, if there are any.

    Raises:
        CliError: one is missing, or they cannot be used.
    """
    if certfile is None and keyfile is None:
        return
    if certfile is None or keyfile is None:
        raise CliError("HTTPS needs both: --certfile and --keyfile")
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(certfile, keyfile)
    except OSError as error:
        what = f"--certfile {certfile} and --keyfile {keyfile}"
        raise CliError(f"cannot use {what}: they must be PEM files that belong together ({told(error)})") from error


def check_address(host: str, port: int) -> None:
    """Try an address before anything is started for it, the lifespan above all.

    Raises:
        CliError: it cannot be listened on.
    """
    where = f"{host}:{port}"
    try:
        with socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM) as probe:
            if sys.platform != "win32":  # there it would take the port away from its owner
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host.strip("[]"), port))
    except socket.gaierror as error:
        raise CliError(f"cannot listen on {where}: {host!r} is no address of this machine; try 127.0.0.1") from error
    except PermissionError as error:
        raise CliError(f"cannot listen on {where}: not permitted; take a port above 1023, such as 8000") from error
    except OSError as error:
        raise CliError(f"cannot listen on {where}: {_why(error)}") from error


def _why(error: OSError) -> str:
    text = (error.strerror or str(error)).lower()
    if "in use" in text:
        return "the port is taken; give another with --port, or --port 0 for a free one"
    return f"{text}; try --host 127.0.0.1"


def listening(host: str, port: int, certfile: str | None, keyfile: str | None) -> list[socket.socket]:
    """Sockets for processes that inherit them.

    Raises:
        CliError: it cannot be listened on, or the certificate not be used.
    """
    check_certificate(certfile, keyfile)
    check_address(host, port)
    try:
        return listen_on(host, port)
    except OSError as error:  # somebody was faster
        raise CliError(f"cannot listen on {host}:{port}: {_why(error)}") from error

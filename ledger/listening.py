"""A socket that a program of ours serves at, or why it cannot."""

import socket

BACKLOG = 2_048


class AddressTaken(OSError):
    """Another program serves at this address already, or the address is not ours; choose another with --port or --watch-port."""


def listen(host: str, port: int) -> socket.socket:
    """Port 0 is a free one. Raises AddressTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except (OSError, UnicodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "no name of a host"
        raise AddressTaken(f"{_in_address(host)}:{port}: {reason}. {AddressTaken.__doc__}") from error


def base_url(host: str, listening: socket.socket) -> str:
    """Where that is, for who asks."""
    return f"http://{_in_address(host)}:{listening.getsockname()[1]}"


def _in_address(host: str) -> str:
    return f"[{host}]" if ":" in host else host

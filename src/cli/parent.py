"""What a service owes to the program that started it."""

import os
import signal
import socket
import threading


def tell_parent(fd: int, url: str) -> None:
    """Tell it where we listen, and stop when it is gone, however it went."""
    parent = socket.socket(fileno=fd)
    parent.sendall(url.encode() + b"\n")

    def stop_with_parent() -> None:
        with parent:
            parent.recv(1)
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=stop_with_parent, name="parent watch", daemon=True).start()

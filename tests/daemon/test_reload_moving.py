"""A reload that moves the listeners: the new ones are bound before the old ones close, so nobody is refused."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

import pytest
from operating import operated
from ports import free_port


class Knocking:
    """Somebody who connects again and again, and counts whom he finds."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.connected = 0
        self.refused = 0
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def __enter__(self) -> Knocking:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.is_set():
            try:
                socket.create_connection(("127.0.0.1", self.port), 5).close()
                self.connected += 1
            except ConnectionResetError:
                pass  # in the instant of a close: the kernel hands what is half accepted to nobody else by itself
            except ConnectionRefusedError:
                self.refused += 1


@pytest.mark.parametrize("processes", [1, 2])
def test_nobody_is_refused_while_the_listeners_move(tmp_path: Path, processes: int) -> None:
    """From one address of the machine to all of them and back, on one port, and with another port beside it."""
    port = free_port()
    common = f"processes: {processes}\nport: {port}\n"
    places = ["0.0.0.0", "127.0.0.1", "[127.0.0.1, 127.0.0.2]", "[0.0.0.0]", "[127.0.0.3, 127.0.0.1]"]
    with operated(tmp_path, common + "listen_address: 127.0.0.1") as server, Knocking(port) as knocking:
        for place in places * 2:
            before = knocking.connected
            log = server.reload(common + f"listen_address: {place}")
            assert "everything is as it was" not in log
            while knocking.connected < before + 20 and not knocking.refused:
                time.sleep(0.001)
    assert knocking.refused == 0
    assert knocking.connected > 100

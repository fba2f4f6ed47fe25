"""A network of Linux namespaces, whose nodes can be cut off from each other for real: packets vanish, nobody is told.

Each node is a namespace with an address of its own, joined to the others by a bridge in one more namespace; the
machine's own network is not touched. What a node sends goes out through its end of a virtual cable, and what it is
sent through the bridge's end of it: a queue that drops everything, at either end or at both, is a partition to one
side or to both. Connections stay open, as they do when a switch fails, and go on when it is mended.
"""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
from collections.abc import Sequence
from types import TracebackType

# Of the addresses set aside for testing networks (RFC 2544), none of which is anybody's.
_NETWORK = "198.18.0"


def _run(*words: str) -> None:
    """Raises CalledProcessError, which names the command, where it fails."""
    subprocess.run(words, check=True, capture_output=True, timeout=10)


@functools.cache
def why_there_are_none() -> str:
    """What a namespace lacks on this machine; empty where there is all that is needed."""
    if os.geteuid() != 0 or shutil.which("ip") is None or shutil.which("tc") is None:
        return "network namespaces need root and iproute2"
    probe = f"sttp-{os.getpid()}-probe"
    try:
        _run("ip", "netns", "add", probe)
        _run("ip", "-n", probe, "link", "add", "near", "type", "veth", "peer", "name", "far")
        _run("ip", "-n", probe, "link", "add", "bridge", "type", "bridge")
        _run("tc", "-n", probe, "qdisc", "add", "dev", "near", "root", "blackhole")
    except subprocess.CalledProcessError as error:
        return f"{' '.join(error.cmd)}: {error.stderr.decode(errors='replace').strip()}"
    finally:
        subprocess.run(["ip", "netns", "delete", probe], capture_output=True, timeout=10)
    return ""


class Node:
    """A namespace. What is run with `run` before its command line is in there."""

    def __init__(self, name: str, hub: str, number: int) -> None:
        self.host = f"{_NETWORK}.{number}"
        self.run: Sequence[str] = ("ip", "netns", "exec", name)
        self._ends = {"sends": (name, "cable"), "receives": (hub, f"cable-{number}")}

    def make(self) -> None:
        (name, near), (hub, far) = self._ends.values()
        _run("ip", "netns", "add", name)
        _run("ip", "-n", name, "link", "add", near, "type", "veth", "peer", "name", far, "netns", hub)
        _run("ip", "-n", hub, "link", "set", far, "master", "bridge", "up")
        _run("ip", "-n", name, "address", "add", f"{self.host}/24", "dev", near)
        _run("ip", "-n", name, "link", "set", near, "up")
        _run("ip", "-n", name, "link", "set", "lo", "up")

    def remove(self) -> None:
        """Harmless where it was not made. What runs in it must have ended."""
        subprocess.run(["ip", "netns", "delete", self._ends["sends"][0]], capture_output=True, timeout=10)

    def cut(self, sides: Sequence[str] = ("sends", "receives")) -> None:
        """What it sends, or what it is sent, or both, is lost until it is mended."""
        for side in sides:
            namespace, end = self._ends[side]
            _run("tc", "-n", namespace, "qdisc", "add", "dev", end, "root", "blackhole")

    def mend(self) -> None:
        """Harmless where nothing is cut."""
        for namespace, end in self._ends.values():
            words = ["tc", "-n", namespace, "qdisc", "delete", "dev", end, "root"]
            subprocess.run(words, capture_output=True, timeout=10)


class Network:
    """`size` nodes that reach each other. A context manager: nothing of it is left behind."""

    def __init__(self, size: int) -> None:
        self._hub = f"sttp-{os.getpid()}-hub"
        self.nodes = [Node(f"sttp-{os.getpid()}-{number}", self._hub, number) for number in range(1, size + 1)]

    def __enter__(self) -> Network:
        try:
            _run("ip", "netns", "add", self._hub)
            _run("ip", "-n", self._hub, "link", "add", "bridge", "type", "bridge")
            _run("ip", "-n", self._hub, "link", "set", "bridge", "up")
            for node in self.nodes:
                node.make()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for node in self.nodes:
            node.remove()
        subprocess.run(["ip", "netns", "delete", self._hub], capture_output=True, timeout=10)

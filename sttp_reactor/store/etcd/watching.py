"""What others change, as the cluster tells it; and how far we have been told.

One thread keeps a watch on all keys of ours, on a connection of its own, and goes on with the revision behind the last
one it has heard of, at another member where the first fails. So it misses nothing, and hears nothing twice that would
matter; unless the cluster no longer keeps that revision, or is another one: then anything may have changed.

A watch may be silent because nothing changes, or because it is cut off, and it cannot tell. Every write also puts the
key of the last write, so a read of that key says how far the watch must come before everything written until then has
been told. That is the barrier, and a second thread asks for it all the time: a watch that does not come as far is given
up for another, and where none does for `stale` seconds, nothing is told any more until one does.

Whoever is told is so before the barrier says that he was: `on_change` is called first.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import logging
import threading
import time
from typing import Final

from sttp_reactor.errors import StoreFailed
from sttp_reactor.store.base import OnChange
from sttp_reactor.store.etcd.answers import words_of
from sttp_reactor.store.etcd.channel import Channel, NotSent
from sttp_reactor.store.etcd.cluster import Cluster
from sttp_reactor.store.etcd.keys import Keys
from sttp_reactor.store.etcd.wording import Json, bytes_of, newest_in, presence, ranges_of, revision_of, text_of

log = logging.getLogger(__name__)

# A watch that fails is opened again after this long; twice as long each time that it fails at once, up to the second.
_PAUSE_SECONDS: Final = (0.05, 1.0)
# What a read waits for the watch. It comes 0.1 ms behind a write, 40 ms on a busy machine; whoever waits for longer is
# better served by the cluster itself.
_LAG_SECONDS: Final = 0.25
# Looks in the time of `stale`: two that fail in a row leave time for a third.
_LOOKS: Final = 3
_CLOSE_SECONDS: Final = 2.0


class Watch:
    """All methods may be called by any thread, but `open` and `close` by one."""

    def __init__(self, cluster: Cluster, keys: Keys) -> None:
        self._cluster = cluster
        self._keys = keys
        self._stale = cluster.timeouts.stale
        self._on_change: OnChange = lambda paths: None
        self._told = threading.Condition()  # guards the five below
        self._revision = 0  # up to which we have been told; 0 before anybody has answered
        self._cluster_id = ""
        self._is_live = False
        self._is_lagging = False
        self._live_until = 0.0  # monotonic
        self._channel: Channel | None = None
        self._closing = threading.Event()
        self._threads: list[threading.Thread] = []

    def open(self, on_change: OnChange, answer: Json | None) -> None:
        """Begin, with the `answer` to a read made just now; None where there was none."""
        self._on_change = on_change
        self._closing.clear()
        self._revision = 0
        if answer is not None:
            self._begin(answer)
        self._threads = [
            threading.Thread(target=target, name=f"sttp-watch-{name}", daemon=True)
            for name, target in (("events", self._follow), ("pulse", self._look_again_and_again))
        ]
        for thread in self._threads:
            thread.start()

    def close(self) -> None:
        """The cluster has been closed, so nobody waits for it for long."""
        self._closing.set()
        self._give_up()
        with self._told:
            self._told.notify_all()
        for thread in self._threads:
            thread.join(_CLOSE_SECONDS)

    @property
    def is_live(self) -> bool:
        """Whether all that was written more than `stale` seconds ago has been told, by anybody."""
        return self._is_live

    @property
    def revision(self) -> int:
        return self._revision

    def barrier(self) -> bool:
        """Whether everything that was written before this call has been told; False where nobody knows."""
        if self._is_lagging or not self._revision:
            return False
        return self._confirm(_LAG_SECONDS)

    def wait_for(self, revision: int) -> None:
        """Until `revision` has been told, or nothing is told any more and nobody relies on it."""
        with self._told:
            self._told.wait_for(lambda: self._revision >= revision or not self._is_live, self._stale)
            is_told = self._revision >= revision or not self._is_live
        if not is_told:
            self._set_aside()

    # -- The thread of the events --

    def _follow(self) -> None:
        skip, pause = 0, _PAUSE_SECONDS[0]
        while not self._closing.is_set():
            began = time.monotonic()
            try:
                if not self._revision:
                    self._begin(self._cluster.read([presence(self._keys.last_write)]))
                    log.info("the cluster at %s answers", self._cluster)
                self._watch(skip)
            except (OSError, http.client.HTTPException, ValueError, NotSent, StoreFailed) as error:
                if not self._closing.is_set():
                    log.debug("the watch of the cluster has ended: %s", error)
            except Exception:
                log.exception("the watch of the cluster has failed")
            skip += 1
            pause = _PAUSE_SECONDS[0] if time.monotonic() - began > 1.0 else min(2 * pause, _PAUSE_SECONDS[1])
            self._closing.wait(pause)

    def _begin(self, answer: Json) -> None:
        """From what the cluster holds now. Whatever is known from before may be wrong."""
        self._on_change(None)
        self._cluster_id = answer.get("header", {}).get("cluster_id", "")
        self._advance(revision_of(answer))

    def _watch(self, skip: int) -> None:
        """Until the watch ends; by an exception, mostly."""
        keys = self._keys.everything
        wanted = {"key": text_of(keys.first), "range_end": text_of(keys.end), "start_revision": str(self._revision + 1)}
        body = json.dumps({"create_request": wanted}).encode()
        headers = self._cluster.headers()
        channel = self._cluster.connect(skip)
        try:
            self._channel = channel
            if self._closing.is_set():
                return
            response = channel.begin("/v3/watch", body, headers, time.monotonic() + self._cluster.timeouts.read)
            channel.wait_without_end()
            rest = b""
            while piece := response.read1(1 << 20):
                *lines, rest = (rest + piece).split(b"\n")
                for line in filter(None, lines):
                    self._receive(json.loads(line))
        finally:
            self._channel = None
            channel.close()

    def _receive(self, message: Json) -> None:
        result = message.get("result")
        if result is None:
            raise StoreFailed(words_of(str(message.get("error", {}))))
        if result.get("canceled"):
            if result.get("compact_revision") or "compacted" in str(result.get("cancel_reason", "")):
                self._forget()
                raise StoreFailed("the cluster no longer keeps what has changed meanwhile")
            raise StoreFailed(words_of(str(result.get("cancel_reason", "canceled"))))
        if result.get("created") and result.get("header", {}).get("cluster_id", "") != self._cluster_id:
            self._forget()
            raise StoreFailed("this is another cluster")
        events = [event["kv"] for event in result.get("events", ())]
        if events:
            paths = [path for event in events if (path := self._keys.path_of(bytes_of(event["key"]))) is not None]
            if paths:
                self._on_change(paths)
            self._advance(max(int(event["mod_revision"]) for event in events))

    def _forget(self) -> None:
        self._revision = 0
        self._set_aside()

    def _advance(self, revision: int) -> None:
        with self._told:
            self._revision = max(revision, self._revision)
            self._is_lagging = False
            self._told.notify_all()

    # -- The thread that looks --

    def _look_again_and_again(self) -> None:
        interval = self._stale / _LOOKS
        while not self._closing.is_set():
            began = time.monotonic()
            if self._revision and not self._confirm(interval) and not self._closing.is_set():
                self._give_up()
            left = self._live_until - time.monotonic()
            if self._is_live and left < 0.01:
                self._set_aside()
            wait = began + interval - time.monotonic()
            self._closing.wait(max(0.0, min(wait, left) if self._is_live else wait) if self._revision else 0.05)

    def _confirm(self, patience: float) -> bool:
        """Ask how far the watch must come, and whether it comes so far; within `patience` seconds."""
        began = time.monotonic()
        try:
            (found,) = ranges_of(self._cluster.read([presence(self._keys.last_write)], patience))
        except StoreFailed:
            return False
        last = newest_in(found)
        with self._told:
            left = began + patience - time.monotonic()
            self._told.wait_for(lambda: self._revision >= last or self._closing.is_set(), max(0.0, left))
            is_told = 0 < self._revision >= last
            self._is_lagging = not is_told
            if is_told:
                self._live_until = max(self._live_until, began + self._stale)
                self._is_live = True
        return is_told

    def _set_aside(self) -> None:
        with self._told:
            if not self._is_live:
                return
            self._is_live = False
            self._told.notify_all()
        log.warning("the cluster at %s tells nothing of changes; nothing is cached until it does", self._cluster)
        self._on_change(None)

    def _give_up(self) -> None:
        """The watch there is: another one is opened."""
        channel = self._channel
        if channel is not None:
            with contextlib.suppress(OSError):
                channel.interrupt()

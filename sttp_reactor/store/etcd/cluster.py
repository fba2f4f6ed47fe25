"""The cluster as one: whichever endpoint answers is asked.

All threads ask the endpoint that answered last. One that cannot be connected to, or does not answer, costs its time-out
once: from then on everybody asks the next one. Nothing that may have arrived is sent again but reads.
"""

from __future__ import annotations

import json
import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from sttp_reactor.store.etcd.answers import Answer, Meaning, OutcomeUnknown, RefusedWhole, Unavailable, words_of
from sttp_reactor.store.etcd.channel import Broken, Channel, Endpoint, NotSent

if TYPE_CHECKING:
    import ssl

# A read is asked so many times its time-out altogether, of one endpoint after the other: an election takes 1 to 2.6 s
# with etcd's own settings, and then whoever waited is answered.
READ_TRIES: Final = 3
# Once all endpoints have been asked in vain they are asked again after this long (seconds).
_PAUSE_SECONDS: Final = 0.05
_TXN: Final = "/v3/kv/txn"


class Timeouts(NamedTuple):
    """In seconds. `stale` is how old an answer from the cache may be."""

    connect: float = 1.0
    read: float = 1.0
    write: float = 2.0
    stale: float = 3.0


class Cluster:
    """For any number of threads."""

    def __init__(
        self,
        endpoints: Sequence[Endpoint],
        timeouts: Timeouts,
        make_tls: Callable[[], ssl.SSLContext] | None = None,
        user: str = "",
        password: Callable[[], str] = str,
    ) -> None:
        """`make_tls` makes what endpoints with https are spoken to with. `password` is asked for whenever we have to
        say who we are, `user`; an empty one says nothing."""
        self.timeouts = timeouts
        self._endpoints = list(endpoints)
        self._make_tls = make_tls
        self._tls: ssl.SSLContext | None = None
        self._user = user
        self._password = password
        self._token = ""
        self._lock = threading.Lock()
        self._current = 0  # the endpoint to ask
        self._idle: list[Channel] = []
        self._busy: set[Channel] = set()
        self._is_closed = False

    def read(self, ranges: Sequence[Mapping[str, Any]], seconds: float = math.inf) -> dict[str, Any]:
        """The answer to these `range` requests in one transaction: what the cluster holds at one moment, not earlier
        than this call. It takes `seconds` at most, where that is less than usual. Raises StoreFailed."""
        request = {"success": [{"request_range": each} for each in ranges]}
        return self._ask(_TXN, request, min(seconds, READ_TRIES * self.timeouts.read), is_write=False)

    def write(self, operations: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """The answer to a transaction that changes something. Raises OutcomeUnknown where nobody knows what has come
        of it, another StoreFailed where nothing has."""
        return self._ask(_TXN, {"success": list(operations)}, self.timeouts.write, is_write=True)

    def connect(self, skip: int = 0) -> Channel:
        """A connection for somebody else's use, to the endpoint to ask or the one `skip` places behind it. NotSent."""
        endpoint = self._endpoints[(self._current + skip) % len(self._endpoints)]
        return Channel(endpoint, self._tls, self.timeouts.connect)

    def headers(self) -> dict[str, str]:
        """Raises StoreFailed where we cannot say who we are."""
        # Without `hasleader` a member that has lost the others lets us wait for 7 s, and a watch for ever.
        headers = {"Grpc-Metadata-hasleader": "true"}
        if self._user:
            headers["Authorization"] = self._token or self._authenticate("")
        return headers

    def forget_token(self) -> None:
        self._token = ""

    def open(self) -> None:
        """Keep connections, from now on until `close`. Raises what `make_tls` raises."""
        if self._make_tls is not None and any(endpoint.is_tls for endpoint in self._endpoints):
            self._tls = self._make_tls()
        self._is_closed = False

    def __str__(self) -> str:
        return ", ".join(map(str, self._endpoints))

    def close(self) -> None:
        with self._lock:
            self._is_closed = True
            idle, self._idle = self._idle, []
            busy = list(self._busy)
        for channel in idle:
            channel.close()
        for channel in busy:
            channel.interrupt()

    # -- Within --

    def _ask(self, path: str, request: Mapping[str, Any], seconds: float, *, is_write: bool) -> dict[str, Any]:
        body = json.dumps(request).encode()
        deadline = time.monotonic() + seconds
        renewals = failures = 0
        while True:
            headers = self.headers() if path == _TXN else {}
            tried = self._current
            try:
                answer = Answer(*self._post(tried, path, body, headers, deadline, is_write=is_write))
                if answer.meaning is Meaning.DONE:
                    return answer.result
                why = words_of(answer.message)
                if answer.meaning is Meaning.NEEDS_TOKEN and self._user and not renewals:
                    renewals += 1
                    self._authenticate(headers.get("Authorization", ""))
                    continue
                _raise_what_is_final(answer, why, is_write=is_write)
            except NotSent as error:
                why = str(error)
            except Broken as error:
                self._turn_from(tried)
                if is_write:
                    raise OutcomeUnknown(f"the cluster did not answer ({error})") from error
                why = str(error)
            self._turn_from(tried)
            failures += 1
            pause = _PAUSE_SECONDS if failures % len(self._endpoints) == 0 else 0.0
            if time.monotonic() + pause >= deadline or self._is_closed:
                raise Unavailable(f"the cluster cannot be reached ({why}); nothing was done")
            time.sleep(pause)

    def _post(
        self, place: int, path: str, body: bytes, headers: Mapping[str, str], deadline: float, *, is_write: bool
    ) -> tuple[int, bytes]:
        channel = self._take(self._endpoints[place], min(deadline - time.monotonic(), self.timeouts.connect))
        if not is_write:
            deadline = min(deadline, time.monotonic() + self.timeouts.read)
        with self._lock:
            self._busy.add(channel)
        try:
            if self._is_closed:  # before it was seen to be busy
                raise NotSent("closed")
            return channel.post(path, body, headers, deadline)
        finally:
            self._give_back(channel)

    def _take(self, endpoint: Endpoint, timeout: float) -> Channel:
        while True:
            with self._lock:
                channel = self._idle.pop() if self._idle else None
            if channel is None:
                return Channel(endpoint, self._tls, max(0.001, timeout))
            if channel.endpoint == endpoint and not channel.is_stale:
                return channel
            channel.close()

    def _give_back(self, channel: Channel) -> None:
        with self._lock:
            self._busy.discard(channel)
            if channel.is_open and not self._is_closed:
                self._idle.append(channel)
                return
        channel.close()

    def _turn_from(self, tried: int) -> None:
        with self._lock:
            if self._current == tried:  # else somebody has found out before us
                self._current = (tried + 1) % len(self._endpoints)

    def _authenticate(self, used: str) -> str:
        """A new token, unless somebody else has got one since `used` was. Raises StoreFailed."""
        if self._token == used:
            try:
                request = {"name": self._user, "password": self._password()}
            except OSError as error:
                raise RefusedWhole("the file with the cluster's password cannot be read") from error
            result = self._ask("/v3/auth/authenticate", request, self.timeouts.read, is_write=False)
            self._token = str(result.get("token", ""))
        return self._token


def _raise_what_is_final(answer: Answer, why: str, *, is_write: bool) -> None:
    """Raises the 500 that nothing more can be done about; otherwise somebody else may be asked."""
    if answer.meaning is Meaning.REFUSED:
        raise answer.refusal()
    if answer.meaning is Meaning.NEEDS_TOKEN:
        raise RefusedWhole(f"the cluster wants to know who we are: {why}")
    if answer.meaning is Meaning.UNKNOWN and is_write:
        raise OutcomeUnknown(why)


def password_in(file: Path | None) -> Callable[[], str]:
    """What `Cluster` asks for the password: the first line of `file`, read anew each time."""
    return lambda: "" if file is None else file.read_text(encoding="utf-8").partition("\n")[0].strip()

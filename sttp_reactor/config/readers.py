"""What a key allows: each reader turns a `Value` into a setting, or says why it cannot."""

from __future__ import annotations

import ipaddress
import os
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

from sttp_reactor.config.values import Shape, Unfit, Value
from sttp_reactor.suggest import nearest

# Everything is counted in signed 64-bit numbers somewhere below.
LARGEST_NUMBER = 2**63 - 1
# Longer is never meant; and kernels count waiting times in small integers.
LONGEST_SECONDS = 10 * 365 * 86_400
# sockaddr_un.sun_path on Linux, without its closing NUL (unix(7)).
SOCKET_PATH_BYTES = 107

_WHOLE = re.compile(r"[+-]?(0|[1-9](_?[0-9])*)")
# No leading zeros here either: YAML 1.1 takes 0777 for octal, a reader of it for 777.
_AMOUNT = r"((?:0|[1-9](?:_?[0-9]){0,18})(?:\.[0-9]{1,18})?) ?"
_SIZE = re.compile(_AMOUNT + r"(?:([KMGT])(?:i?B)?|B)?", re.IGNORECASE)
_TIME = re.compile("".join(rf"(?:{_AMOUNT}{unit} ?)?" for unit in ("d", "h", "m", "s", "ms")))
_MODE = re.compile(r"0?[0-7]{3}")
_PLAIN_SECONDS = re.compile(_AMOUNT)
_UNIT_SECONDS = [Decimal(unit) for unit in ("86400", "3600", "60", "1", "0.001")]
_HOST_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(\.(?!-)[A-Za-z0-9_-]{1,63})*\.?")


@dataclass(frozen=True, slots=True)
class Reader:
    """`expected` completes "expected ..."; `read` returns the setting or raises `Unfit`."""

    expected: str
    read: Callable[[Value], Any]


def whole(low: int, high: int | None = None) -> Reader:
    """A whole number in plain decimal digits, from `low` to `high`; `1_000` is understood."""
    expected = f"a whole number from {low} to {high}" if high is not None else f"a whole number above {low - 1}"

    def read(value: Value) -> int:
        _refuse_quotes(value)
        # By its text and not by what YAML 1.1 makes of it: 0777 would be 511, 0x50 would be 80 and 1:30 would be 90.
        if value.shape is not Shape.NUMBER or not _WHOLE.fullmatch(value.text):
            octal = re.fullmatch(r"[+-]?0[0-7_]+", value.text)
            raise Unfit(value, "a leading 0 would make it octal" if octal else "")
        # Not more digits than any limit has: Python refuses to convert thousands of them.
        number = int(value.text) if len(value.text) < 40 else LARGEST_NUMBER + 1
        if number > LARGEST_NUMBER and high is None:
            raise Unfit(value, "too large")
        if number < low or (high is not None and number > high):
            raise Unfit(value)
        return number

    return Reader(expected, read)


def boolean() -> Reader:
    words = {"true": True, "yes": True, "on": True, "false": False, "no": False, "off": False}

    def read(value: Value) -> bool:
        _refuse_quotes(value)
        if value.shape is not Shape.BOOLEAN or value.text.lower() not in words:
            raise Unfit(value)
        return words[value.text.lower()]

    return Reader("true or false", read)


def choice(*words: str) -> Reader:
    def read(value: Value) -> str:
        # A word may look like a number: 1.2 is one, and no arithmetic is done with it.
        if value.shape not in (Shape.TEXT, Shape.NUMBER) or value.text not in words:
            near = nearest(value.text, words) if value.shape is Shape.TEXT else None
            raise Unfit(value, f"did you mean {near}?" if near else "")
        return value.text

    return Reader(" or ".join([", ".join(words[:-1]), words[-1]]), read)


def size() -> Reader:
    """Bytes, or a number with a unit. K, KB and KiB are all 1,024 bytes, and so on for M, G and T.

    One meaning for each letter, the one of memory, which is what the sizes here limit: the published default,
    10485760, is 10MB. (PostgreSQL counts its kB the same way.)
    """

    def read(value: Value) -> int:
        match = _SIZE.fullmatch(value.text)
        if value.shape not in (Shape.NUMBER, Shape.TEXT) or not match:
            raise Unfit(value)
        exponent = " KMGT".index(match[2].upper()) if match[2] else 0
        count = Decimal(match[1]) * 1024**exponent
        if count > LARGEST_NUMBER:
            raise Unfit(value, "too large")
        if count < 1 or (exponent == 0 and "." in match[1]):
            raise Unfit(value)
        return int(count)

    return Reader("a size above 0, such as 10485760 or 10MB", read)


def duration(*, zero: bool = False) -> Reader:
    """Seconds, or numbers with the units d, h, m, s and ms, the longest first: `300`, `0.5`, `500ms`, `1h30m`."""
    expected = "a time in seconds or such as" if zero else "a time above 0, in seconds or such as"

    def read(value: Value) -> float:
        # A number alone is seconds.
        match = _TIME.fullmatch(value.text + "s" if _PLAIN_SECONDS.fullmatch(value.text) else value.text)
        if value.shape not in (Shape.NUMBER, Shape.TEXT) or not value.text or not match:
            raise Unfit(value)
        amounts = zip(match.groups(), _UNIT_SECONDS, strict=True)
        # To the microsecond: no clock here is better, and it prints without an exponent.
        seconds = round(float(sum(Decimal(amount) * unit for amount, unit in amounts if amount)), 6)
        if seconds > LONGEST_SECONDS:
            raise Unfit(value, "longer than ten years")
        if seconds == 0 and not zero:
            raise Unfit(value)
        return seconds

    return Reader(f"{expected} 500ms, 5m", read)


def mode() -> Reader:
    """What a file lets whom do, in octal digits, with quotes or without; the setting is those digits."""

    def read(value: Value) -> str:
        # By its text: YAML 1.1 would take 0660 for 432, and 660 for what it looks like.
        if value.shape not in (Shape.TEXT, Shape.NUMBER) or not _MODE.fullmatch(value.text):
            raise Unfit(value)
        return value.text.rjust(4, "0")

    return Reader("a file's mode in octal digits, such as 0660", read)


def folder() -> Reader:
    return Reader("the path of a folder", _path)


def access_log() -> Reader:
    """`false`, a file's path, or `-` for standard output."""

    def read(value: Value) -> Literal[False, "-"] | Path:
        if value.shape is Shape.BOOLEAN and value.text.lower() in ("false", "no", "off"):
            return False
        if value.shape is Shape.BOOLEAN:
            raise Unfit(value)
        return "-" if value.text == "-" and value.shape is Shape.TEXT else _path(value)

    return Reader("false, the path of a file, or '-' for standard output", read)


def file_or_false() -> Reader:
    """A file's path; `false` is None."""

    def read(value: Value) -> Path | None:
        if value.shape is not Shape.BOOLEAN:
            return _path(value)
        if value.text.lower() not in ("false", "no", "off"):
            raise Unfit(value)
        return None

    return Reader("false or the path of a file", read)


def addresses() -> Reader:
    """One address or a list of them, none twice; IPv6 addresses may stand in brackets, which are dropped."""

    def read(value: Value) -> tuple[str, ...]:
        found: list[str] = []
        unfit: list[Unfit] = []
        for item in value.items():
            try:
                address = _address(item)
                if address in found:
                    raise Unfit(item, "it is there twice")
                found.append(address)
            except Unfit as error:
                unfit.append(error)
        if unfit:
            raise Unfit.together(unfit)
        if not found:
            raise Unfit(value, "it is empty")
        return tuple(found)

    return Reader("an IP address, a host name, a Unix socket's path that begins with '/', or a list of them", read)


def host_names() -> Reader:
    """One name, a list of them, or an empty list; in lower case, as they are compared."""

    def read(value: Value) -> tuple[str, ...]:
        found = []
        for item in value.items():
            name = item.text.lower()
            if item.shape is not Shape.TEXT or len(name) > 253 or not _HOST_NAME.fullmatch(name):
                raise Unfit(item)
            found.append(name)
        return tuple(dict.fromkeys(found))

    return Reader("a host's name without a port, or a list of them", read)


def _address(value: Value) -> str:
    # The client and the load tool understand a Unix socket's path with "unix:" before it too.
    text = value.text.removeprefix("unix:") if value.text.startswith("unix:/") else value.text
    if text.startswith("/") and value.shape is Shape.TEXT:
        path = str(_path(replace(value, text=text)))
        if len(os.fsencode(path)) > SOCKET_PATH_BYTES:
            raise Unfit(value, f"a Unix socket's path has at most {SOCKET_PATH_BYTES} bytes")
        return path
    bare = text[1:-1] if text.startswith("[") and text.endswith("]") else text
    # Before the shape is looked at: YAML 1.1 takes 2001:1:2:3:4:5:6:7 for a number in base 60.
    if value.shape in (Shape.TEXT, Shape.NUMBER) and _is_ip_address(bare):
        return str(ipaddress.ip_address(bare))
    if value.shape is Shape.BOOLEAN:
        raise Unfit(value, "YAML reads it as true or false; put it in quotes")
    if re.fullmatch(r"(\[.*\]|[^:]+):[0-9]+", text):
        raise Unfit(value, "the port has a key of its own, port")
    numeric = re.fullmatch(r"[0-9.]+", text)
    if value.shape is not Shape.TEXT or numeric or len(text) > 253 or not _HOST_NAME.fullmatch(text):
        raise Unfit(value, "for every address, name 0.0.0.0 and ::" if text == "*" else "")
    return text


def _is_ip_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def _path(value: Value) -> Path:
    # The shell hands over a file's name as it is; in YAML an unquoted 2026 or no is a mistake until it is quoted.
    if not value.place.is_flag and value.shape is not Shape.TEXT:
        cleverer = value.shape in (Shape.NUMBER, Shape.BOOLEAN) or value.text == "~"
        raise Unfit(value, "put it in quotes" if cleverer else "")
    if not value.text:
        raise Unfit(value)
    text = os.path.expanduser(value.text)
    if text.startswith("~"):
        raise Unfit(value, "this home folder is not known")
    try:
        # Fails for lone surrogates, which YAML's "\ud800" can write.
        if b"\0" in os.fsencode(text):
            raise Unfit(value, "a path holds no NUL")
        # Not resolved: ".." after a link must mean what it means to the kernel.
        return Path(value.folder, text).absolute()
    except UnicodeEncodeError:
        raise Unfit(value, "this is no text") from None
    except OSError as error:
        raise Unfit(value, f"the working directory is not known: {error.strerror}") from None


def _refuse_quotes(value: Value) -> None:
    if value.shape is Shape.TEXT and not value.plain:
        raise Unfit(value, "in quotes it is text")

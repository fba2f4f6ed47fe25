"""File and flags put together: flags beat the file, the file beats the defaults."""

from __future__ import annotations

import dataclasses
import os
import typing
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from sttp_reactor.config.document import read_document, unknown_key
from sttp_reactor.config.keys import KEYS, SECTIONS, TABLE, Key, default_of
from sttp_reactor.config.settings import Settings
from sttp_reactor.config.values import Place, Unfit, Value
from sttp_reactor.errors import ConfigError
from sttp_reactor.printable import printable

DEFAULT_ORIGIN = "default"


class FlagError(ConfigError):
    """A `ConfigError` with nothing wrong in the file: every mistake is on the command line."""


class Override(NamedTuple):
    """A setting given on the command line: the flag as it is spelled in a mistake, the key, the text."""

    flag: str
    key: str
    text: str


@dataclass(frozen=True, slots=True)
class Loaded:
    """`origins` says for each key where its value comes from: "default", "sttpd.yaml:3" or "--port".

    `source` names the file that was read, "defaults" where there was none. `is_reloadable` is False where the file was
    a pipe or a device, which cannot be read again.
    """

    settings: Settings
    origins: Mapping[str, str]
    source: str
    is_reloadable: bool = True


def load(path: Path | None, overrides: Sequence[tuple[str, str, str]] = (), *, again: bool = False) -> Loaded:
    """Read the file, if there is one, and the overrides (flag, dotted key, text). `again` says that the program runs
    already, with settings that it had better keep than lose: see `read_document`.

    Raises `ConfigError` with every mistake in both, the file's in its order and then the flags'; the subclass
    `FlagError` where the file has none. Mistakes name the file as `path` spells it.
    """
    attempt = _Attempt()
    if path is not None:
        attempt.take_file(path, again)
    attempt.take_flags(Override(*override) for override in overrides)
    attempt.take_defaults()
    attempt.raise_mistakes()
    settings: Settings = _build(Settings, attempt.settings, "")
    attempt.check(settings)
    attempt.raise_mistakes()
    origins = {name: place.origin for name, place in attempt.places.items()}
    source = printable(str(path)) if path is not None else "defaults"
    return Loaded(settings, origins, source, attempt.is_reloadable)


def contradictions(settings: Settings) -> list[str]:
    """The rules across keys that `settings` break, one line for each: for settings that are put together by hand."""
    return [f"{name}: {what}" for contradiction in _CONTRADICTIONS for name, what in contradiction(settings)]


class _Attempt:
    """What is known so far: `settings` and their `places` by dotted name, and the mistakes."""

    def __init__(self) -> None:
        self.settings: dict[str, Any] = {}
        self.places: dict[str, Place] = {}
        self._in_file: list[tuple[Place, str]] = []
        self._in_flags: list[str] = []
        self.is_reloadable = True

    def take_file(self, path: Path, again: bool) -> None:
        document = read_document(path, again=again)
        self.is_reloadable = document.is_regular
        self._in_file += document.mistakes
        for name, value in document.values.items():
            self._read(KEYS[name], value)

    def take_flags(self, overrides: Iterable[Override]) -> None:
        seen: dict[str, str] = {}
        for flag, name, text in overrides:
            value = Value.from_flag(text, flag)
            if name in seen:
                # The last one could win, as it does elsewhere; but docopt, which sees --port twice, cannot tell us
                # the order of --port and --set, so the rule would hold for some pairs only.
                self._blame(value.place, name, f"contradicts {seen[name]}: both set {name}; give only one of them")
            elif name in SECTIONS:
                inside = ", ".join(key.name for key in TABLE if key.section == name)
                self._blame(value.place, name, f"this is a section; set one of {inside}")
            elif name not in KEYS:
                self._blame(value.place, name, unknown_key(name))
            else:
                self._read(KEYS[name], value)
            seen.setdefault(name, flag)

    def take_defaults(self) -> None:
        for key in TABLE:
            if key.name in self.places:
                continue
            self.places[key.name] = Place(DEFAULT_ORIGIN)
            try:
                self.settings[key.name] = default_of(key)
            except RuntimeError:
                self._in_file.append((Place(""), f"{key.name}: no home folder is known that could hold it; name one"))

    def check(self, settings: Settings) -> None:
        for contradiction in _CONTRADICTIONS:
            for name, what in contradiction(settings):
                self._blame(self.places[name], name, what)

    def raise_mistakes(self) -> None:
        mistakes = [text for _, text in sorted(self._in_file, key=_by_position)] + self._in_flags
        if mistakes:
            raise ConfigError(mistakes) if self._in_file else FlagError(mistakes)

    def _read(self, key: Key, value: Value) -> None:
        # Noted even where the value is wrong: a default must not be put beside the mistake.
        self.places[key.name] = value.place
        try:
            self.settings[key.name] = key.reader.read(value)
        except Unfit as unfit:
            for value, reason, expected, part in unfit.faults:
                hint = f" ({reason})" if reason else ""
                what = f"expected {expected or key.reader.expected}, got {value.shown}{hint}"
                self._blame(value.place, f"{key.name}.{part}" if part else key.name, what)

    def _blame(self, place: Place, name: str, what: str) -> None:
        if place.is_flag:
            self._in_flags.append(place.mistake(name, what))
        else:
            self._in_file.append((place, place.mistake(name, what)))


def _by_position(mistake: tuple[Place, str]) -> tuple[int, int]:
    return mistake[0].line, mistake[0].column


def _build(cls: type[Any], settings: Mapping[str, Any], section: str) -> Any:
    """Fill the nested dataclass `cls`: its fields are the keys of `section`."""
    types = typing.get_type_hints(cls)
    filled = {}
    for field in dataclasses.fields(cls):
        name = f"{section}.{field.name}" if section else field.name
        nested = types[field.name]
        filled[field.name] = _build(nested, settings, name) if name in SECTIONS else settings[name]
    return cls(**filled)


def _log_in_docroot(settings: Settings) -> Iterator[tuple[str, str]]:
    """The access log below the docroot would be a snippet: any client could overwrite or delete it."""
    access = settings.log.access
    if isinstance(access, Path) and _is_in_docroot(access, settings):
        yield "log.access", _in_docroot(settings)


def _half_of_tls(settings: Settings) -> Iterator[tuple[str, str]]:
    """TLS needs a certificate and its key; what is set without them would seem to protect, and would not."""
    tls = settings.tls
    for name, file, other, needed in (
        ("tls.certificate", tls.certificate, "tls.key", tls.key),
        ("tls.key", tls.key, "tls.certificate", tls.certificate),
        ("tls.client_ca", tls.client_ca, "tls.certificate", tls.certificate),
    ):
        if file is not None and needed is None:
            yield name, f"is of no use without {other}"


def _tls_nowhere(settings: Settings) -> Iterator[tuple[str, str]]:
    if settings.tls.certificate is None:
        return
    if settings.tls.port and settings.tls.port == settings.port:
        if settings.tls.port == default_of(KEYS["tls.port"]):
            yield "port", "is the same as tls.port, which is for connections with TLS"  # the one that was surely set
        else:
            yield "tls.port", "is the same as port, which is for connections without TLS"
    if all(address.startswith("/") for address in settings.listen_address):
        yield "tls.certificate", "is of no use where listen_address has only Unix sockets, which are served without TLS"


def _tls_in_docroot(settings: Settings) -> Iterator[tuple[str, str]]:
    for name in ("certificate", "key", "client_ca"):
        file = getattr(settings.tls, name)
        if file is not None and _is_in_docroot(file, settings):
            yield f"tls.{name}", _in_docroot(settings)


def _certificates_that_nobody_shows(settings: Settings) -> Iterator[tuple[str, str]]:
    """A rule that no client can ever fit, though it may be there to refuse some."""
    names = [who for rule in settings.access for who in rule.who]
    if settings.tls.client_ca is None and any(who.partition(":")[0] == "certificate" for who in names):
        yield "access", "has a rule about certificates, and without tls.client_ca no client is asked for one"


def _is_in_docroot(file: Path, settings: Settings) -> bool:
    docroot = os.path.realpath(settings.docroot)
    return os.path.commonpath([os.path.realpath(file), docroot]) == docroot


def _in_docroot(settings: Settings) -> str:
    return f"lies in the docroot, {os.path.realpath(settings.docroot)}, where clients could change it"


# Rules across keys: each yields the key to blame and what is wrong. They see settings that are right one by one.
_CONTRADICTIONS: tuple[Callable[[Settings], Iterator[tuple[str, str]]], ...] = (
    _log_in_docroot,
    _half_of_tls,
    _tls_nowhere,
    _tls_in_docroot,
    _certificates_that_nobody_shows,
)

"""Lists of mappings, such as rules of access and servers to ask: `[{who: unix, may: read}, ...]`, or one alone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from sttp_reactor.config.readers import Reader
from sttp_reactor.config.values import Fault, Shape, Unfit, Value
from sttp_reactor.suggest import nearest

R = TypeVar("R")


@dataclass(frozen=True)
class Record(Generic[R]):
    """One mapping: `make` is called with what `parts` have read, by name. Those that have no value in `defaults` must
    be written. With `alone`, a value that is no mapping is that part of one: `192.0.2.1` for `{address: 192.0.2.1}`.
    """

    make: Callable[..., R]
    parts: Mapping[str, Reader]
    defaults: Mapping[str, Any]
    alone: str = ""

    def read(self, value: Value) -> R:
        """Raises Unfit with all that is wrong with it."""
        unfit: list[Unfit] = []
        if value.shape is Shape.MAPPING:
            written = self._parts_of(value, unfit)
        elif self.alone and value.shape is not Shape.LIST:
            written = {self.alone: value}
        else:
            raise Unfit(value)
        found = dict(self.defaults)
        for name, part in written.items():
            try:
                found[name] = self.parts[name].read(part)
            except Unfit as error:
                unfit.append(_within(error, name, self.parts[name]))
        missing = [name for name in self.parts if name not in written and name not in self.defaults]
        if missing and not unfit:
            unfit.append(Unfit(value, f"{' and '.join(missing)} must be named"))
        if unfit:
            raise Unfit.together(unfit)
        return self.make(**found)

    def _parts_of(self, value: Value, unfit: list[Unfit]) -> dict[str, Value]:
        """By name; what is wrong with the names is added to `unfit`."""
        written: dict[str, Value] = {}
        for key, part in value.pairs():
            if key.shape is not Shape.TEXT or key.text not in self.parts:
                near = nearest(key.text, self.parts)
                unfit.append(Unfit(key, f"did you mean {near}?" if near else "", expected=self._keys))
            elif key.text in written:
                unfit.append(Unfit(key, "it is there twice", expected=self._keys))
            else:
                written[key.text] = part
        return written

    @property
    def _keys(self) -> str:
        *names, last = self.parts
        return f"the keys {', '.join(names)} and {last}, once each"


def listed(value: Value, read: Callable[[Value], R]) -> list[tuple[Value, R]]:
    """Each item of a list, or the value alone, with what it means; in a flag the text is YAML. Raises Unfit with the
    faults of all of them."""
    value = value.parsed()
    items = value.items()
    return list(zip(items, several(items, read), strict=True))


def several(items: Iterable[Value], read: Callable[[Value], R]) -> list[R]:
    """Raises Unfit with the faults of all."""
    found: list[R] = []
    unfit: list[Unfit] = []
    for item in items:
        try:
            found.append(read(item))
        except Unfit as error:
            unfit.append(error)
    if unfit:
        raise Unfit.together(unfit)
    return found


def records(
    record: Record[R], expected: str, *, check: Callable[[Sequence[tuple[Value, R]]], None] | None = None
) -> Reader:
    """A tuple of them. `check` sees all with their values, and may raise Unfit for what is wrong between them."""

    def read(value: Value) -> tuple[R, ...]:
        found = listed(value, record.read)
        if check is not None:
            check(found)
        return tuple(each for _, each in found)

    return Reader(expected, read)


def _within(unfit: Unfit, name: str, reader: Reader) -> Unfit:
    """The same, told of the part that it is in."""
    unfit.faults = [
        Fault(value, reason, expected or reader.expected, f"{name}.{part}" if part else name)
        for value, reason, expected, part in unfit.faults
    ]
    return unfit

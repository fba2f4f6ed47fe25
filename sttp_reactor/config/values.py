"""What was written, and where: the values between the text of a file or flag and the setting they become."""

from __future__ import annotations

import enum
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Self

import yaml
from yaml.resolver import Resolver

from sttp_reactor.printable import printable

# A value is repeated in its mistake as far as it is needed to recognise it.
SHOWN_CHARACTERS = 60


class Shape(enum.Enum):
    """What a value looks like to YAML 1.1; a reader decides what it may look like to us."""

    TEXT = "text"
    NUMBER = "a number"
    BOOLEAN = "true or false"
    NOTHING = "nothing"
    LIST = "a list"
    MAPPING = "a mapping"
    TAGGED = "a tagged value"


_TAG_PREFIX = "tag:yaml.org,2002:"
_SCALARS = {
    "str": Shape.TEXT,
    "int": Shape.NUMBER,
    "float": Shape.NUMBER,
    "bool": Shape.BOOLEAN,
    "null": Shape.NOTHING,
    # Plain text that YAML 1.1 would make something cleverer of: dates, "=" and "<<".
    "timestamp": Shape.TEXT,
    "value": Shape.TEXT,
    "merge": Shape.TEXT,
}


@dataclass(frozen=True, slots=True)
class Place:
    """Where something was written: `line` and `column` of the file `source`, or (both 0) the flag `source`."""

    source: str
    line: int = 0
    column: int = 0

    @property
    def is_flag(self) -> bool:
        return self.line == 0

    @property
    def origin(self) -> str:
        """For the comments of --print-config: `sttpd.yaml:3` or `--port`."""
        return printable(self.source if self.is_flag else f"{self.source}:{self.line}")

    def mistake(self, key: str, what: str) -> str:
        """Return the line that tells of a mistake here; `key` is the dotted name, or "" where there is none yet."""
        named = f"{key}: " if key else ""
        if not self.is_flag:
            return printable(f"{self.source}:{self.line}:{self.column}: {named}{what}")
        # --port is a key's name already; --set is not.
        return printable(f"{self.source} {named}{what}" if self.source == "--set" else f"{self.source}: {what}")


@dataclass(frozen=True, slots=True)
class Value:
    """One value as written.

    `text` is a scalar's text; `plain` says that it had no quotes. Relative file names in it count from `folder`
    (an empty path: the working directory). `node` gives a list its items, and a mapping its keys and values.
    """

    shape: Shape
    text: str
    plain: bool
    place: Place
    folder: Path
    node: yaml.Node | None = None

    @classmethod
    def from_node(cls, node: yaml.Node, source: str, folder: Path) -> Self:
        return cls._at(Place(source, node.start_mark.line + 1, node.start_mark.column + 1), node, folder)

    @classmethod
    def _at(cls, place: Place, node: yaml.Node, folder: Path) -> Self:
        tag = node.tag.removeprefix(_TAG_PREFIX)
        if isinstance(node, yaml.ScalarNode):
            shape = _SCALARS.get(tag, Shape.TAGGED)
            return cls(shape, node.value, not node.style, place, folder, node)
        shapes = {"seq": Shape.LIST, "map": Shape.MAPPING}
        return cls(shapes.get(tag, Shape.TAGGED), "", True, place, folder, node)

    @classmethod
    def from_flag(cls, text: str, flag: str) -> Self:
        """A flag's text means what it would mean, unquoted, in a file; but no list or mapping begins in it."""
        tag: str = Resolver().resolve(yaml.ScalarNode, text, (True, False))  # type: ignore[no-untyped-call]
        shape = _SCALARS[tag.removeprefix(_TAG_PREFIX)]
        return cls(shape if text else Shape.TEXT, text, True, Place(flag), Path())

    def parsed(self) -> Value:
        """A flag's text taken for YAML where it is a list or a mapping there, as `[{who: unix, may: read}]` is; any
        other value as it stands. Raises Unfit."""
        if not self.place.is_flag or self.node is not None or not self.text.startswith(("[", "{")):
            return self
        try:
            node = yaml.compose(self.text, yaml.SafeLoader)
        except (yaml.YAMLError, RecursionError, ValueError, OverflowError):
            if "{" not in self.text:
                return self  # an address, as in [::1]:8080
            raise Unfit(self, "it is not YAML") from None
        return self if node is None else Value._at(self.place, node, self.folder)

    def items(self) -> list[Value]:
        """A list's items, else the value alone; in a flag that is not `parsed`, commas separate several."""
        if self.place.is_flag and self.node is None:
            return [Value.from_flag(part.strip(), self.place.source) for part in self.text.split(",")]
        if self.shape is not Shape.LIST or self.node is None:
            return [self]
        return [self._part(node) for node in self.node.value]

    @property
    def item_count(self) -> int:
        """Of a list in a file, at no cost; 1 for anything else."""
        return len(self.node.value) if self.shape is Shape.LIST and self.node is not None else 1

    def pairs(self) -> Iterator[tuple[Value, Value]]:
        """A mapping's keys and values, as written: a key may be there twice."""
        assert isinstance(self.node, yaml.MappingNode)
        for key, value in self.node.value:
            yield self._part(key), self._part(value)

    def _part(self, node: yaml.Node) -> Value:
        if self.place.is_flag:
            return Value._at(self.place, node, self.folder)
        return Value.from_node(node, self.place.source, self.folder)

    @property
    def shown(self) -> str:
        """The value as a mistake repeats it."""
        if self.shape is Shape.TAGGED and self.node is not None:
            return f"a value tagged {self.node.tag}"
        if self.shape in (Shape.NOTHING, Shape.LIST, Shape.MAPPING):
            return str(self.shape.value)
        text = self.text if len(self.text) <= SHOWN_CHARACTERS else self.text[:SHOWN_CHARACTERS] + "..."
        return f"'{text}'"


class Fault(NamedTuple):
    """A value and what to say of it ("": nothing). `expected` and `part` are of a part of what the key allows: what
    is allowed there, and its name."""

    value: Value
    reason: str = ""
    expected: str = ""
    part: str = ""


class Unfit(Exception):
    """A value is not what its key allows, in one place or in several: `faults`."""

    def __init__(self, value: Value, reason: str = "", *, expected: str = "", part: str = "") -> None:
        super().__init__(reason)
        self.faults = [Fault(value, reason, expected, part)]

    @classmethod
    def together(cls, several: Iterable[Unfit]) -> Unfit:
        faults = [fault for unfit in several for fault in unfit.faults]
        together = cls(faults[0].value)
        together.faults = faults
        return together

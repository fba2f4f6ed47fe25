"""A YAML file taken apart into the values of known keys, and the mistakes of its form.

PyYAML composes the nodes, which know their line and column, and nothing is ever constructed from a tag. The walk goes
where the table of keys goes and no deeper, so that neither an alias to its own parent nor one that doubles at each
level can keep it busy.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from sttp_reactor.config.table import Table
from sttp_reactor.config.values import Place, Shape, Value
from sttp_reactor.regular_files import is_regular, read_at_rest

# A configuration has some kilobytes; a larger file is another file, or a device without an end.
LARGEST_FILE_BYTES = 1_048_576


@dataclass(slots=True)
class Document:
    """`values` by dotted name; `mistakes` as (place, line of text), in no order. `is_regular` is False where the text
    came from a pipe or a device, from which it cannot be read again."""

    values: dict[str, Value] = field(default_factory=dict)
    mistakes: list[tuple[Place, str]] = field(default_factory=list)
    is_regular: bool = True

    def blame(self, place: Place, key: str, what: str) -> None:
        self.mistakes.append((place, place.mistake(key, what)))


def read_document(table: Table[Any], path: Path, *, again: bool = False) -> Document:
    """Read the file for the keys of `table`. Never raises for what is in it, nor where it cannot be read: that is a
    mistake as well.

    When it is read `again`, while the program runs, only a regular file will do. One that sets nothing is a mistake
    then: it has been truncated, perhaps to be written anew, and whoever wants all the defaults can restart the program.
    """
    document = Document()
    source = str(path)
    try:
        text = _read_text(path, document, again)
    except OSError as error:
        document.blame(Place(source), "", f"cannot be read: {error.strerror or error}")
    except UnicodeDecodeError as error:
        before = error.object[: error.start].decode()
        document.blame(_place_after(source, before), "", f"byte {error.object[error.start]:#04x} is not UTF-8 text")
    except ValueError as error:
        document.blame(Place(source), "", f"cannot be read: {error}")
    else:
        root = _compose(text, source, document)
        if root is not None:
            # No file lies beside a pipe: names in what came from one count from the working directory.
            folder = path.parent if document.is_regular else Path()
            _walk(table, document, Value.from_node(root, source, folder), "")
        if again and not document.values and not document.mistakes:
            document.blame(Place(source), "", "sets nothing" if text.strip() else "is empty")
    return document


def _read_text(path: Path, document: Document, again: bool) -> str:
    if again:
        data = read_at_rest(path, LARGEST_FILE_BYTES + 1)
    else:
        with path.open("rb") as file:
            document.is_regular = is_regular(file.fileno())
            data = file.read(LARGEST_FILE_BYTES + 1)
    if len(data) > LARGEST_FILE_BYTES:
        raise ValueError("it is larger than 1 MiB, which no configuration is")
    if not data and not document.is_regular and path != Path(os.devnull):
        raise ValueError("nothing came from it")  # as from a pipe whose other end has failed
    return data.decode()


def _place_after(source: str, before: str) -> Place:
    line_start = before.rfind("\n") + 1
    return Place(source, before.count("\n") + 1, len(before) - line_start + 1)


def _compose(text: str, source: str, document: Document) -> yaml.Node | None:
    """Return the root node; None for an empty file, and for one that is not YAML (then the mistake is noted)."""
    try:
        loader = yaml.SafeLoader(text)
    except yaml.reader.ReaderError as error:
        where = _place_after(source, text[: error.position])
        character = f"U+{ord(text[error.position]):04X}"
        document.blame(where, "", f"a file in YAML holds no control character such as {character}")
        return None
    try:
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark or loader.get_mark()
        what = _explain(error)
    except RecursionError:
        mark, what = loader.get_mark(), "nested too deeply"
    except (ValueError, OverflowError):
        # PyYAML hands the eight digits of "\U..." and the version of %YAML to chr() and int() as they are.
        mark, what = loader.get_mark(), "a number here is too large"
    document.blame(Place(source, mark.line + 1, mark.column + 1), "", f"not YAML: {what}")
    return None


def _explain(error: yaml.MarkedYAMLError) -> str:
    problem = error.problem or ""
    if "'\\t'" in problem:
        return "a tab cannot indent or separate; use spaces"
    if "mapping values are not allowed" in problem:
        return "a second ':' in one value, or a line indented too far; a value that holds ': ' needs quotes"
    if "sequence entries are not allowed" in problem:
        return "a list cannot begin here; the value - needs quotes"
    if "but found ':'" in problem:
        return "between brackets or braces, a value that begins with ':' needs quotes"
    return f"{error.context}, {problem}" if error.context else problem


def _walk(table: Table[Any], document: Document, mapping: Value, section: str) -> None:
    """Note the values and mistakes of one section ("": the whole file)."""
    if mapping.shape is Shape.NOTHING:
        # `cache:` with every key below it commented out, or a file of nothing but comments.
        return
    if mapping.shape is not Shape.MAPPING:
        keys = _inside(table, section)
        inside = f"a mapping of {', '.join(keys)}" if section else f"a mapping of keys such as {keys[0]}"
        document.blame(mapping.place, section, f"expected {inside}, got {mapping.shown}")
        return
    seen: dict[str, int] = {}
    for key, value in mapping.pairs():
        name = f"{section}.{key.text}" if section else key.text
        if key.shape in (Shape.LIST, Shape.MAPPING, Shape.TAGGED):
            document.blame(key.place, section, f"expected the name of a key, got {key.shown}")
        elif key.text == "<<" and key.plain:
            document.blame(key.place, name, "merging is not supported; write the keys out")
        elif key.text in seen:
            document.blame(key.place, name, f"duplicate key, first in line {seen[key.text]}")
        elif name in table.sections and "." not in key.text:
            _walk(table, document, value, name)
        elif name in table.keys and "." not in key.text:
            document.values[name] = value
        else:
            document.blame(key.place, name, table.unknown(name))
        seen.setdefault(key.text, key.place.line)


def _inside(table: Table[Any], section: str) -> list[str]:
    """The names that may be written there."""
    inner = [each.rpartition(".")[2] for each in table.sections_in(section)]
    return [*(key.short_name for key in table.keys_in(section)), *inner]

"""README.rst's literal blocks, as something to run.

Each says what it is: `console` (commands behind "$ ", and what they print, on either stream), `bash` (commands whose
output is left out), `python` (a program; what it prints stands in the comments of its prints), `yaml` (a configuration)
or `text` (nothing to run). A comment `.. not run: REASON` before a block is for what cannot be run.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import NamedTuple

KINDS = {"console", "bash", "python", "yaml", "text"}

_DIRECTIVE = re.compile(r"( *)\.\. code-block:: (\w+)")
_NOT_RUN = re.compile(r" *\.\. not run: (.+)")
_PRINT = re.compile(r"print\(.*\)  # (.*)")


class Block(NamedTuple):
    """`line` is where its text begins, counted from 1; `excuse` why it is not run, "" where it is."""

    kind: str
    text: str
    line: int
    excuse: str


class Command(NamedTuple):
    line: str
    output: list[str]


def read_blocks(rst: str) -> Iterator[Block]:
    lines = rst.split("\n")
    excuse = ""
    for number, line in enumerate(lines):
        directive = _DIRECTIVE.fullmatch(line)
        if directive is not None:
            indent, start = len(directive[1]) + 4, number + 2
            end = next(
                (n for n in range(start, len(lines)) if lines[n] and not lines[n].startswith(" " * indent)), len(lines)
            )
            text = "\n".join(each[indent:] for each in lines[start:end]).rstrip("\n")
            yield Block(directive[2], text, start + 1, excuse)
        comment = _NOT_RUN.fullmatch(line)
        if comment is not None or line:
            excuse = comment[1] if comment is not None else ""


def read_commands(block: Block) -> Iterator[Command]:
    """The commands of a `console` block."""
    commands: list[Command] = []
    for line in block.text.split("\n"):
        if line.startswith("$ "):
            commands.append(Command(line[2:], []))
        else:
            commands[-1].output.append(line)
    yield from commands


def promised_prints(block: Block) -> list[str]:
    """What a `python` block says that it prints."""
    return _PRINT.findall(block.text)


def blurred(line: str) -> str:
    """`line` without what is another one each time: how long something took, what time it is, and in which folder."""
    line = re.sub(r"\b\d+\.\d+ ms\b", "N ms", line)
    line = re.sub(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", "TIME", line)
    line = re.sub(r"docroot /[^;]+/", "docroot FOLDER/", line)
    return re.sub(r"\w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT", "DATE", line).rstrip()

r"""The targets by name: what is checked, and what an input of it is likely to be made of.

A target is a function that takes any bytes and raises when a promise is broken. `words` are whole pieces of inputs, of
the usual and of the awkward kind: hypothesis joins them, and a fuzzer that is guided by coverage has them as its
dictionary. `scripts` are inputs with their letters, and `corpora` folders of tests/corpus that hold more of them. An
input has `max_length` bytes at the most: what takes long to try is not tried often.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final, NamedTuple

import fuzz_parser
import fuzz_recovery
import fuzz_replies
import fuzz_session
from fuzz_config import check_config
from fuzz_parser import check_parser
from fuzz_recovery import check_recovery
from fuzz_replies import check_replies
from fuzz_script import write_script
from fuzz_session import check_session

from sttp_reactor.sttp.keys import TABLE

CORPUS: Final = Path(__file__).parents[1] / "corpus"
FINDS: Final = CORPUS / "finds"


class Target(NamedTuple):
    check: Callable[[bytes], None]
    letters: str
    words: tuple[bytes, ...]
    scripts: tuple[tuple[bytes | str, ...], ...] = ()
    corpora: tuple[str, ...] = ()
    max_length: int = 6000

    def pieces(self) -> list[bytes]:
        """Words, letters and scripts as they stand in an input; where there are no letters, words are inputs."""
        if not self.letters:
            return list(self.words)
        return [write_script([piece]) for piece in (*self.letters, *self.words)] + list(map(write_script, self.scripts))


# What the bugs of other servers were made of: a CR alone, one that is cut off its LF, NUL, a byte order mark, overlong
# and surrogate UTF-8, quotes, spaces at the end, and lines that look like those of the fast way.
_CLIENT: Final = (
    b"\n",
    b"\r\n",
    b"\r",
    b"\n\n",
    b" ",
    b"SHOW /a\n",
    b"SHOW /b\n",
    b"SHOW /d/c\nSHOW /d/e\n",
    b"SHOW /a\r\n",
    b"SHOW /a \n",
    b"SHOW /a\0\n",
    b"\xef\xbb\xbfSHOW /a\n",
    b"SHOW /\xc0\xaf\n",
    b"SHOW /\xed\xa0\x80\n",
    b"SHOW /\xc2\x85\n",
    b"SHOW /a\x0bSHOW /b\x0c\n",
    b"SHOW /\xe2\x80\xa8\n",
    b"SHOW /none\n",
    b"SHOW /none/a\n",
    b"SHOW /d\n",
    b"SHOW /.sttp/journal\n",
    b"SHOW /a/../b\n",
    b"LIST /\n",
    b"LIST /d/\n",
    b"LIST /a\n",
    b"LIST /d/c/x\n",
    b"CREATE /a again\n",
    b"CREATE /n/m/o new\n",
    b"CREATE /a/x below a file\n",
    b"UPDATE /a one\n",
    b'UPDATE /a ""\n',
    b'UPDATE /b "\n',
    b"UPDATE /d/c two \n",
    b'UPDATE /d/c "a"b"\n',
    b"DELETE /a\n",
    b"DELETE /d/e\n",
    b"DELETE /d/\n",
    b"show /a\n",
    b"SHOW /" + b"n" * 33 + b"\n",
    b"UPDATE /a " + b"\xc3\xa9" * 160 + b"\n",
    b"UPDATE /a " + b"\xc3\xa9" * 161 + b"\n",
)

_SERVER: Final = (
    b"\n",
    b"\r\n",
    b"100 /a CREATED\n",
    b"200 /a OK\n",
    b"200 /a OK\ntext\n",
    b"200 /d/ OK\n\n",
    b"200 - OK\n\t\n",
    b'300 - CLIENT ERROR "no"\n',
    b'300 /a CLIENT ERROR ""\n',
    b'300 /a CLIENT ERROR "a"b"\n',
    b"300 /a CLIENT ERROR\n",
    b"310 /a FILENAME TOO LONG\n",
    b"400 /a NOT FOUND\n",
    b"410 /a/ PATH NOT FOUND\n",
    b'500 /a SERVER ERROR "full"\n',
    b"510 /a/ CANNOT CREATE PATH\n",
    b"600 /a DELETED\n",
    b"600  /a DELETED\n",
    b"600 /a DELETED \n",
    b"0600 /a DELETED\n",
    b"\xd9\xa1\xd9\xa0\xd9\xa0 /a CREATED\n",
    b"100 /\xed\xa0\x80 CREATED\n",
    b"\xef\xbb\xbf100 /a CREATED\n",
    b"100 /a\0 CREATED\n",
    b"HTTP/1.1 200 OK\r\n",
)

_CONFIG: Final = (
    *(f"{key.short_name}: ".encode() for key in TABLE.keys.values()),
    *(f"{section}:\n  ".encode() for section in TABLE.sections),
    b"\n",
    b"\n  ",
    b"  - ",
    b"{who: anybody, may: read, below: /public}",
    b"{who: [192.0.2.0/24, '::/0', 'unix:root', 'certificate:a'], may: [read, write]}",
    b"port: 8443\n",
    b"docroot: /srv\n",
    b"docroot: ~nobody/x\n",
    b"tls: {certificate: c, key: k}\n",
    b"cache: {max_files: 1, max_size: 10MB, expiration: 1h30m}\n",
    b"log: {access: /srv/log}\n",
    b"listen_address: [localhost, '[::1]', /run/s, 1::2]\n",
    b"0x50",
    b"0777",
    b"1_000",
    b"1:30",
    b"1e999",
    b".inf",
    b"9" * 5000,
    b"true",
    b"~",
    b"'",
    b'"\\ud800"',
    b'"\\U99999999"',
    b'"\\0"',
    b"&a [*a]",
    b"<<: ",
    b"!!python/object:os.system ",
    b"%YAML 9" + b"9" * 40 + b"\n---\n",
    b"--- ",
    b"...\n",
    b"? ",
    b"\t",
    b"\0",
    b"\xef\xbb\xbf",
    b"\xff\xfe",
    b"\xc2\x85",
    b"\xe2\x80\xa8",
    b"[" * 30,
    b"2001-01-01",
)

_JOURNAL: Final = (
    b"\0",
    b"\1",
    b"\2",
    b"\x03",
    b"\xf8",
    b"\xfc",
    b"/a",
    b"/new",
    b"/d/e",
    b"/d/",
    b"/d",
    b"/n/m/o",
    b"/",
    b"",
    b"a",
    b"/../outside/theirs",
    b"/d/../x",
    b"/./x",
    b"//x",
    b"/link/theirs",
    b"/link",
    b"/.sttp/turn",
    b"/.sttp/x",
    b"/a\0",
    b"/a b",
    b"/a/b",
    b"/\xff",
    b"/" + b"n" * 33,
    b"/" + b"n" * 300,
    b"/d" * 3000,
    b"text",
    b"text\n",
    b"x" * 700,
    b"x" * 5000,
    b"STJr",
    b"STTPjrn1",
    b"\1\1\0\1\0/",
)

_CUT_CLIENT: Final = (
    (b"SHOW /a\r", "|", b"\n"),
    (b"SHOW /a\n", "|", b"\n", "|", b"SHOW /b\n"),
    (b"\r", "|", b"\n\r", "|", b"\nSHOW /a\n"),
    (b"SHOW /a\nSHOW", "|", b" /b\n"),
    (b'CREATE /x "\xc3', "|", b'\xa9"\n'),
)

_CONVERSATIONS: Final = (
    *_CUT_CLIENT,
    ("t", b"SHOW /a\n", "R", "|", b"UPDATE /a x\n", "W", "d", "c", b"SHOW /a\n", "."),
    ("t", b"SHOW /w\n", "R", "n", "W", "c", b"SHOW /w\n", "d", "|", b"SHOW /w\n", "."),
    (b"UPDATE /a x\nSHOW /a\n", "W", "c", "R", "d", b"SHOW /a\n", "."),
    (b"SHOW /n\nLIST /d/\nSHOW /m\n", "r", "r", "r", "D", "D", "D"),
    (b"".join(b"CREATE /%d x\n" % number for number in range(7)), "w", ",", b"CREATE /x y\n", "."),
    ("p", b"SHOW /a\n", "|", b"SHOW /b\n", ",", "P"),
    (b"SHOW /a\nSHOW /a", "e"),
    ("m", b"SHOW /a\n", ".", b"CREATE /a " + b"x" * 60 + b"\n"),
)

_RECORDED: Final = (
    ("H", b"\1", "R", "P", b"/a", "=", b"new", ";"),
    ("R", "P", b"/n/m", "=", b"text", "X", b"/d/e", ";"),
    ("S", b"\0", "R", "X", b"/a", ";"),
    ("H", b"\1", "R", "P", b"/x", "=", b"y", ";", "T", b"\0"),
    ("T", b"\1"),
    ("T", b"\2\4\1\0"),
    ("P", b"/../outside/theirs", "=", b"ours"),
    ("H", b"\1", "R", "F", b"Ttext of a", "P", b"/a", "=", b"new", ";"),
    ("F", b"N", "P", b"/n", "=", b"new"),
    ("F", b"Tnew", "X", b"/a", "F", b"D" + bytes(12), "P", b"/d/e", "=", b"new"),
)

TARGETS: Final = {
    "parser": Target(check_parser, fuzz_parser.LETTERS, _CLIENT, _CUT_CLIENT, ("valid", "invalid")),
    "session": Target(check_session, fuzz_session.LETTERS, _CLIENT, _CONVERSATIONS, ("valid", "invalid"), 1500),
    "replies": Target(check_replies, fuzz_replies.LETTERS, _SERVER, (), ("valid", "invalid")),
    "config": Target(check_config, "", _CONFIG),
    "recovery": Target(check_recovery, fuzz_recovery.LETTERS, _JOURNAL, _RECORDED, max_length=1500),
}


def finds(name: str) -> list[Path]:
    """The inputs that are kept for a target, in the order of their names."""
    return sorted(file for file in (FINDS / name).glob("*") if file.is_file())

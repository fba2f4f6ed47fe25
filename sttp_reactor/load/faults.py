"""What ends a load before or beside its figures, and the list of replies that were wrong."""

from __future__ import annotations

from sttp_reactor.errors import SttpError

SAMPLES = 5  # wrong replies told in full; a broken server makes thousands, and the first few say it all
SHOWN_BYTES = 200  # of a request or reply in a message


class LoadError(SttpError):
    """The load cannot be made as asked; the message is one sentence for the user."""


class Unreachable(LoadError):
    """Nothing answers at the target's address."""


class MissingExtra(LoadError):
    """A feature needs a package of the extra `bench`."""

    def __init__(self, feature: str, package: str) -> None:
        super().__init__(f"{feature} needs {package}: pip install 'sttp_reactor[bench]'")


class Mistakes:
    """Counts what the server did wrong, and keeps the first few cases word for word."""

    def __init__(self) -> None:
        self.count = 0
        self.samples: list[str] = []
        self.refused = 0  # connections that the server would not serve
        self.refusal = ""  # and why, in its words

    def note(self, sentence: str, count: int = 1) -> None:
        self.count += count
        if len(self.samples) < SAMPLES:
            self.samples.append(sentence)

    def refuse(self, reason: str) -> None:
        """Counts a connection that the server would not serve. This makes no sample: there may be thousands, and one
        sentence tells of all of them."""
        self.count += 1
        self.refused += 1
        self.refusal = self.refusal or reason

    @property
    def first(self) -> str:
        """What is most worth telling in one sentence; "" where there is nothing."""
        if self.refused:
            return f'the server refuses connections: "{self.refusal}"'
        return self.samples[0] if self.samples else ""


def shown(data: bytes) -> str:
    """Bytes of the wire as text for a message: on one line, escaped, cut short."""
    text = data[:SHOWN_BYTES].decode("utf-8", "backslashreplace")
    text = text.replace("\n", "\\n").replace("\r", "\\r").replace("\t", "\\t")
    text = "".join(char if char.isprintable() else f"\\x{ord(char):02x}" for char in text)
    return text + ("…" if len(data) > SHOWN_BYTES else "")

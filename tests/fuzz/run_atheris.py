"""One target under atheris, which keeps whatever leads the package through something new: see tools/fuzz.sh.

    python run_atheris.py TARGET WORK SECONDS

WORK is a folder of the target's own; what has been learnt stays there. An input that breaks a promise goes to
tests/corpus/finds/TARGET, and ends the run with 77.
"""

from __future__ import annotations

import logging
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Final

import atheris  # type: ignore[import-not-found, import-untyped, unused-ignore]

# Not the tests, nor the libraries: what they run through says nothing about the package.
with atheris.instrument_imports(include=["sttp_reactor"]):
    from fuzz_targets import CORPUS, FINDS, TARGETS, finds

if TYPE_CHECKING:
    from fuzz_targets import Target

_FOUND: Final = 77  # as libFuzzer says it
_TOO_SLOW_SECONDS: Final = 20


def main(name: str, work: Path, seconds: int) -> None:
    # The package says a lot about what it is given here. It is heard by the targets, and nobody else.
    logging.getLogger().addHandler(logging.NullHandler())
    target = TARGETS[name]
    _try_finds(name, target)
    kept, seeds, dictionary = work / "kept", work / "seeds", work / "words.dict"
    for folder in (kept, seeds, FINDS / name):
        folder.mkdir(parents=True, exist_ok=True)
    for number, piece in enumerate(target.pieces()):
        (seeds / f"word-{number}").write_bytes(piece)
    dictionary.write_text("".join(f'"{_escaped(piece)}"\n' for piece in target.pieces() if 0 < len(piece) <= 64))
    corpora = [kept, seeds, FINDS / name, *(CORPUS / folder for folder in target.corpora)]
    options = [
        f"-max_total_time={seconds}",
        f"-max_len={target.max_length}",
        f"-timeout={_TOO_SLOW_SECONDS}",
        f"-dict={dictionary}",
        f"-artifact_prefix={FINDS / name}/",
        "-print_final_stats=1",
    ]
    atheris.Setup([sys.argv[0], *options, *map(str, corpora)], target.check)
    atheris.Fuzz()


def _try_finds(name: str, target: Target) -> None:
    for file in finds(name):
        try:
            target.check(file.read_bytes())
        except Exception:
            traceback.print_exc()
            print(f"{file} was found before, and is not mended", file=sys.stderr)
            sys.exit(_FOUND)


def _escaped(data: bytes) -> str:
    return "".join(f"\\x{byte:02x}" for byte in data)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]))

"""The oracles and models that the targets share with other tests stand in those tests' folders."""

from __future__ import annotations

import sys
from pathlib import Path

TESTS = Path(__file__).parents[1]

# As tools/fuzz.sh has it in PYTHONPATH. At the end: what pytest puts in front by itself stays in front.
sys.path += [str(TESTS / folder) for folder in ("wire", "store")]

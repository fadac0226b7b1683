"""Write the table of options into the README, from where they are declared.

python tools/options_table.py
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "apps" / "sam2_ct"))

from lib.configs.options import table
from lib.files import write_whole

README = ROOT / "README.md"
BEGIN, END = "<!-- options: python tools/options_table.py -->", "<!-- /options -->"


def with_table(text: str) -> str:
    """A README whose part between the marks is today's table."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    new = with_table(README.read_text(encoding="utf-8"))
    write_whole(README, lambda path: path.write_text(new, encoding="utf-8"))

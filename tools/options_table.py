"""Write the table of options into the README, from where they are declared.

python tools/options_table.py
"""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "apps" / "sam2_ct"))

from lib.configs.option import EVERYWHERE, Where
from lib.configs.options import options_of
from lib.files import write_whole

README = ROOT / "README.md"
BEGIN, END = "<!-- options: python tools/options_table.py -->", "<!-- /options -->"


def table() -> str:
    """The options as a Markdown table."""
    places = {
        Where.REQUEST: "viewer",
        Where.SERVER: "`--conf`",
        Where.COMMAND: "`segment`",
        Where.YAML: "YAML",
    }
    lines = ["| name | values (default first) | what | where |", "|---|---|---|---|"]
    for option in options_of():
        first = [option.default_text] if option.default_text else []
        others = ("false", "true") if isinstance(option.default, bool) else option.choices
        values = " ".join(f"`{v}`" for v in dict.fromkeys([*first, *others]))
        where = ", ".join(name for place, name in places.items() if place in option.where)
        lines.append(
            f"| `{option.name}` | {values} | {option.help} | "
            f"{'everywhere' if option.where == EVERYWHERE else where} |"
        )
    return "\n".join(lines)


def with_table(text: str) -> str:
    """A README whose part between the marks is today's table."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}\n{END}{after}"


if __name__ == "__main__":
    new = with_table(README.read_text(encoding="utf-8"))
    write_whole(README, lambda path: path.write_text(new, encoding="utf-8"))

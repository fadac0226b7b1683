"""The entry of `sam2-ct`, of `python -m sam2_ct`, and of `python apps/sam2_ct`.

MONAI Label runs `main.py` with this folder on the path, from where everything is imported as
`lib.…`; so it is here, that one code serves both, and no `lib` lies in site-packages.
"""

import sys
import time
from pathlib import Path


def main() -> None:
    """Run the command line and exit with its code."""
    began = time.perf_counter()
    here = str(Path(__file__).resolve().parent)
    if here not in sys.path:
        sys.path.insert(0, here)

    try:
        from lib.commands import main as command_line

        command_line.main(began=began)
    except KeyboardInterrupt:  # before, or when, there is nobody to say it better
        print("interrupted: nothing was written", file=sys.stderr)
        sys.exit(130)


if __name__ == "__main__":
    main()

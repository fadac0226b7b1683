"""`lib` first, before anything loads torch: it settles how torch's threads wait."""

import lib  # noqa: F401

"""Regular expressions as sims write them."""

from __future__ import annotations

import re
import warnings
from functools import lru_cache


@lru_cache(maxsize=65_536)
def compile_pattern(text: str) -> re.Pattern[str]:
    """Raises ValueError that says what is wrong with `text`.

    Python's remarks on syntax that may change its meaning one day ("possible nested set") are left out: they concern
    nobody who runs a sim.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)
            return re.compile(text)
    except (re.error, OverflowError, RecursionError) as error:
        raise ValueError(str(error)) from error

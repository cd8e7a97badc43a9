"""What comes before and after sampling: starting points, membership."""

from pymc_starpop.summaries.membership import membership
from pymc_starpop.summaries.start import Start, find_start

__all__ = ["Start", "find_start", "membership"]

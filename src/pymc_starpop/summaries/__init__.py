"""What comes before and after sampling: starting points, membership, star formation histories."""

from pymc_starpop.summaries.bins import drop_constant_bins
from pymc_starpop.summaries.membership import membership
from pymc_starpop.summaries.sfh import sfh_draws, summarize_sfh
from pymc_starpop.summaries.start import Start, find_start

__all__ = ["Start", "drop_constant_bins", "find_start", "membership", "sfh_draws", "summarize_sfh"]

"""What every test shares: kernels compiled for this very source, and how Hypothesis draws."""

import os

from hypothesis import settings

from seawall.node.build import use_kernel_cache

# Before any test imports numba. An edit anywhere in the package makes the next run compile anew.
use_kernel_cache()

# The same examples on every run, so that a failure is everyone's and a pass is no luck. To look
# further, SEAWALL_EXPLORE=1 draws new ones and keeps what failed.
settings.register_profile("fixed", derandomize=True, deadline=None)
settings.register_profile("explore", max_examples=1_000, deadline=None, print_blob=True)
settings.load_profile("explore" if os.environ.get("SEAWALL_EXPLORE") else "fixed")

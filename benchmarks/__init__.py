"""Figures of this machine: ratios against peers and C twins, measured in one run."""

"""Tests, in one folder per room; `tidy.py` holds the house rules."""

"""The second pair of eyes: pure, plain Python, blind to how the clearing room works."""

"""The words every room speaks: commands, events, effects, units, codes and their bytes."""

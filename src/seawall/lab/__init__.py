"""The laboratory: the production house run on simulated time, replayed history, and broken parts."""

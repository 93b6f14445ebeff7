"""The laboratory: the house on simulated time, on replayed history, and broken on purpose."""

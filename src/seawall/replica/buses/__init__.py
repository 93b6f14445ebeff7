"""The buses: implementations of `replica.bus.Bus` that need no network."""

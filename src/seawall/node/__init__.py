"""One process, wired and running: the doors, the loop, the local cluster."""

"""Redundancy for any deterministic state machine: one log, many voters, no leader."""

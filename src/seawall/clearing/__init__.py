"""The deterministic clearing house: integers only, no clock, no chance, no doors."""

"""The logs: three implementations of `replica.log.Log`, one contract suite for all."""

"""Warming: after it nothing is left to compile, so no replica stops to compile in a market."""

import importlib
import pkgutil
from typing import Any

import seawall.clearing
from seawall.node.warming import warm
from seawall.node.wiring import ClearingMachine


def kernels_called_by_the_machine() -> dict[str, Any]:
    """Every compiled function that a module of the room calls; kernels call others inside."""
    found: dict[str, Any] = {}
    for module in pkgutil.iter_modules(seawall.clearing.__path__):
        if module.ispkg:
            continue
        named = importlib.import_module(f"seawall.clearing.{module.name}")
        found |= {
            name: value for name, value in vars(named).items() if hasattr(value, "signatures")
        }
    return found


def test_every_kernel_is_compiled_and_a_second_life_compiles_nothing() -> None:
    warm(ClearingMachine())
    kernels = kernels_called_by_the_machine()
    compiled = {name: list(kernel.signatures) for name, kernel in kernels.items()}
    assert len(compiled) > 10
    assert [name for name, signatures in compiled.items() if not signatures] == []
    warm(ClearingMachine())
    assert {name: list(kernel.signatures) for name, kernel in kernels.items()} == compiled

"""House rules that neither ruff nor an import graph can see, read from the syntax tree.

`python -m tests.tidy` prints one line per broken rule and ends with status 1 if there is any.
Rooms are the packages inside `seawall`: PURE rooms touch nothing outside their arguments, INTEGER
rooms also hold no float. What ruff, mypy and import-linter check is left to them.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from tests.walked_sets import find_walked_sets

PURE = {"protocol", "clearing", "risk", "oversight"}
INTEGER = {"protocol", "clearing"}

FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60
LONG_FUNCTION_LINES_MAX = 150
KERNEL_DECORATORS = {"njit", "kernel", "inlined"}
DISPATCH = ("src/seawall/clearing/machine.py", "apply")

# A name that refuses nothing collects everything.
BANNED_WORDS = {
    *("core", "engine", "engines", "manager", "managers", "service", "services", "processor"),
    *("processors", "util", "utils", "common", "helper", "helpers", "base", "misc"),
}
# In two pieces, so that this file passes its own rule.
MARKERS = re.compile(
    r"\b(?:" + "|".join(("TO" + "DO", "FIX" + "ME", "X" * 3, "HA" + "CK")) + r")\b"
)
OUTSIDE = re.compile(
    r"(?<![\w.-])/(?:work|root|home)/\w|\.\./(?:sha" + r"red)\b|(?<!\w)\.lib" + r"rary\b"
    r"|\b(?:py" + r"pi\.org|python" + r"hosted\.org|npm" + r"js\.|debian\.org|crates\.io)"
)
FOLDERS = (".ci", "benchmarks", "docs", "examples", "src", "tests")
TEXT_SUFFIXES = {"", ".c", ".cfg", ".css", ".h", ".html", ".j2", ".js", ".json", ".md", ".sh"} | {
    *(".sql", ".svg", ".toml", ".txt", ".yaml", ".yml")
}

BROAD = {"Exception", "BaseException", "AssertionError", "builtins.Exception"}
DOORS = {
    *("asyncio", "ccxt", "concurrent", "glob", "httpx", "importlib", "io", "logging", "nats"),
    *("multiprocessing", "os", "pathlib", "platform", "random", "secrets", "shutil", "signal"),
    *("socket", "sqlite3", "ssl", "structlog", "subprocess", "tempfile", "threading", "time"),
    *("urllib", "uuid"),
}
OUTSIDE_CALLS = {
    "print": "return a value",
    "open": "take the bytes as an argument",
    "input": "take it as an argument",
    "breakpoint": "write a test",
    "eval": "write plain code",
    "exec": "write plain code",
    "__import__": "import at the top",
    "hash": "use protocol.digest, as hash() differs from process to process",
    "id": "give it an explicit identifier, as id() is an address",
}
SEEDED_DRAWS = {"default_rng", "Generator", "PCG64", "Philox", "SeedSequence", "BitGenerator"}
FLOAT_NAMES = {"float", "complex", "round"}
FLOATING_FUNCTIONS = {
    *("average", "divide", "double", "exp", "fsum", "inf", "linspace", "log", "mean", "median"),
    *("nan", "quantile", "percentile", "random", "rint", "sqrt", "std", "true_divide", "truediv"),
    *("float16", "float32", "float64", "longdouble"),
}


class Finding(NamedTuple):
    """One broken rule, and what to do instead."""

    path: str
    line: int
    rule: str
    advice: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.rule}: {self.advice}"


class Module(NamedTuple):
    """One parsed source file and where it stands in the house."""

    path: PurePosixPath
    source: str
    tree: ast.Module
    room: str
    """The room of a package file, otherwise empty."""


Report = Iterator[tuple[int, str]]
Function = ast.FunctionDef | ast.AsyncFunctionDef


def name_of(node: ast.AST | None) -> str:
    """Return the last word of a name, an attribute or a call's target; empty for the rest."""
    match node:
        case ast.Name(id=name) | ast.Attribute(attr=name):
            return name
        case ast.Call(func=target):
            return name_of(target)
        case _:
            return ""


# Every file.


def file_name(module: Module) -> Report:
    """A file or folder is named by its noun."""
    for part in (*module.path.parent.parts, module.path.stem):
        for word in BANNED_WORDS.intersection(part.lower().split("_")):
            yield 1, f"'{word}' collects everything: name the noun that lives here"


def file_size(module: Module) -> Report:
    """A file has one noun, and so few lines."""
    count = len(module.source.splitlines())
    if count > FILE_LINES_MAX:
        yield count, f"{count} lines, more than {FILE_LINES_MAX}: split by noun"


def function_size(module: Module) -> Report:
    """A function fits a page; kernels and the one dispatch may take more. Docstrings are free."""
    for node in ast.walk(module.tree):
        if not isinstance(node, Function):
            continue
        lines = (node.end_lineno or node.lineno) - node.lineno + 1
        if ast.get_docstring(node) is not None:
            lines -= (node.body[0].end_lineno or 0) - node.body[0].lineno + 1
        allowed = LONG_FUNCTION_LINES_MAX if may_be_long(module, node) else FUNCTION_LINES_MAX
        if lines > allowed:
            yield node.lineno, f"{node.name} has {lines} lines of {allowed}: pull the loop out"


def may_be_long(module: Module, node: Function) -> bool:
    """Tell whether `node` is a compiled kernel or the dispatch of `apply`."""
    is_kernel = any(name_of(decorator) in KERNEL_DECORATORS for decorator in node.decorator_list)
    return (is_kernel and module.room == "clearing") or (str(module.path), node.name) == DISPATCH


def unfinished(module: Module) -> Report:
    """Nothing on the main branch is left for later."""
    for number, line in enumerate(module.source.splitlines(), 1):
        if MARKERS.search(line):
            yield number, "a leftover marker: do it now or open an issue"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Raise) and name_of(node.exc) == "NotImplementedError":
            yield node.lineno, "an unfinished branch: finish it or refuse with a code"


def broad_except(module: Module) -> Report:
    """Only faults are caught, by name: a bug must stop the replica."""
    for node in ast.walk(module.tree):
        caught: list[ast.expr | None] = []
        if isinstance(node, ast.ExceptHandler):
            caught = list(node.type.elts) if isinstance(node.type, ast.Tuple) else [node.type]
        elif isinstance(node, ast.Call) and name_of(node) == "suppress":
            caught = list(node.args)
        for kind in caught:
            if kind is None or ast.unparse(kind) in BROAD:
                yield line_of(node), "hides bugs: name the fault that can happen here"


def compound_assert(module: Module) -> Report:
    """An assertion that fails names one fact. In tests pytest shows the halves by itself."""
    is_package = module.path.parts[0] == "src"
    for node in ast.walk(module.tree):
        match node:
            case ast.Assert(test=ast.BoolOp(op=ast.And())) if is_package:
                yield node.lineno, "two facts in one assert: write one line for each"
            case _:
                pass


# Tests.


def skipped_test(module: Module) -> Report:
    """A test runs, on the real thing, at its own pace."""
    if module.path.parts[0] != "tests":
        return
    for node in ast.walk(module.tree):
        match node:
            case ast.Attribute(attr="skip" | "skipif" | "xfail" | "importorskip" as word):
                if name_of(node.value) in {"pytest", "mark", "unittest"}:
                    yield node.lineno, f"{word}: mend it or remove it"
            case ast.Attribute(value=ast.Name(id="time"), attr="sleep"):
                yield node.lineno, "a sleep guesses: wait for the event itself"
            case _:
                pass
        for imported in imported_modules(node):
            if imported.startswith(("unittest.mock", "pytest_mock", "mock.")) or imported == "mock":
                yield line_of(node), "a mock agrees with anything: use the fake of the contract"


# Pure rooms.


def door(module: Module) -> Report:
    """A pure room reaches nothing but its arguments."""
    for node in ast.walk(module.tree):
        for imported in imported_modules(node):
            if imported.split(".")[0] in DOORS:
                yield line_of(node), f"import of {imported} in a pure room: take it as an argument"
        match node:
            case ast.AsyncFunctionDef() | ast.Await() | ast.AsyncFor() | ast.AsyncWith():
                yield node.lineno, "waiting in a pure room: the caller waits, the room computes"
            case ast.Global():
                yield node.lineno, "global in a pure room: keep it in the state"
            case ast.Call(func=ast.Name(id=called)) if called in OUTSIDE_CALLS:
                yield node.lineno, f"{called}() in a pure room: {OUTSIDE_CALLS[called]}"
            case _:
                pass


def unseeded_draw(module: Module) -> Report:
    """A random draw comes from a generator whose seed is an argument."""
    for node in ast.walk(module.tree):
        match node:
            case ast.Call(args=[], keywords=[]) if name_of(node) == "default_rng":
                yield node.lineno, "default_rng() without a seed: take the seed as an argument"
            case ast.Attribute(value=ast.Attribute(attr="random"), attr=drawn):
                if drawn not in SEEDED_DRAWS:
                    yield node.lineno, f"random.{drawn} has hidden state: use a seeded generator"
            case _:
                pass


def set_order(module: Module) -> Report:
    """A set is asked, never walked: its order differs from process to process."""
    for line in find_walked_sets(module.tree):
        yield line, "iteration over a set has no order: sorted(...) or a list"


# Integer rooms.


def floating(module: Module) -> Report:
    """An integer room holds no float, in no spelling."""
    for node in ast.walk(module.tree):
        match node:
            case ast.Constant(value=float() | complex() as value):
                yield node.lineno, f"{value} is a float: use ppb, ticks or minor units"
            case ast.Name(id=name) if name in FLOAT_NAMES:
                yield node.lineno, f"{name}: use an integer and mul_div_floor/ceil/half_even"
            case ast.Attribute(value=ast.Name(id="np" | "numpy" | "operator"), attr=name):
                if name in FLOATING_FUNCTIONS:
                    yield node.lineno, f".{name} leaves the integers"
            case ast.BinOp(op=ast.Pow(), right=ast.UnaryOp(op=ast.USub())):
                yield node.lineno, "a negative power is a float: divide with a named rounding"
            case _:
                pass


def true_division(module: Module) -> Report:
    """Every quotient names its rounding."""
    for node in ast.walk(module.tree):
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            yield node.lineno, "true division: mul_div_floor/ceil/half_even names its direction"


# All together.

EVERYWHERE: tuple[Callable[[Module], Report], ...] = (
    *(file_name, file_size, function_size, unfinished, broad_except, compound_assert),
    skipped_test,
)
IN_PURE_ROOMS: tuple[Callable[[Module], Report], ...] = (door, unseeded_draw, set_order)
IN_INTEGER_ROOMS: tuple[Callable[[Module], Report], ...] = (floating, true_division)
OUTSIDE_RULE = "outside"
RULES = {rule.__name__ for rule in EVERYWHERE + IN_PURE_ROOMS + IN_INTEGER_ROOMS} | {OUTSIDE_RULE}


def imported_modules(node: ast.AST) -> list[str]:
    """Return the full names that an import statement brings in, modules or not."""
    match node:
        case ast.Import(names=names):
            return [alias.name for alias in names]
        case ast.ImportFrom(module=str(module), level=0, names=names):
            return [f"{module}.{alias.name}" for alias in names]
        case _:
            return []


def line_of(node: ast.AST) -> int:
    """Return where a node starts; the first line for nodes without a place."""
    return getattr(node, "lineno", 1)


def check_source(path: PurePosixPath, source: str) -> list[Finding]:
    """Return every broken rule of one Python file; `path` is relative to the repository."""
    room = path.parts[2] if path.parts[:2] == ("src", "seawall") and len(path.parts) > 3 else ""
    module = Module(path, source, ast.parse(source), room)
    rules = EVERYWHERE
    rules += IN_PURE_ROOMS if room in PURE else ()
    rules += IN_INTEGER_ROOMS if room in INTEGER else ()
    return [
        Finding(str(path), line, rule.__name__, advice)
        for rule in rules
        for line, advice in rule(module)
    ] + check_text(path, source)


def check_text(path: PurePosixPath, text: str) -> list[Finding]:
    """Return where a file names a place that exists on one machine only, or a registry's host."""
    return [
        Finding(str(path), number, OUTSIDE_RULE, f"'{found[0]}' is no part of the project")
        for number, line in enumerate(text.splitlines(), 1)
        if (found := OUTSIDE.search(line))
    ]


def check_tree(root: Path) -> list[Finding]:
    """Return every broken rule under `root`, by path and line."""
    findings: list[Finding] = []
    below = (path for folder in FOLDERS for path in (root / folder).rglob("*"))
    for path in (*root.iterdir(), *below):
        place = path.relative_to(root)
        if not path.is_file() or "__pycache__" in place.parts:
            continue
        if path.suffix == ".py":
            findings += check_source(PurePosixPath(place), path.read_text())
        elif path.suffix in TEXT_SUFFIXES:
            findings += check_text(PurePosixPath(place), path.read_text())
    return sorted(findings)


def main() -> int:
    """Print the findings of the repository this file stands in; return the exit status."""
    findings = check_tree(Path(__file__).resolve().parent.parent)
    for finding in findings:
        print(finding)
    print(f"tidy: {len(findings)} broken rules, {len(RULES)} kinds checked")
    return min(len(findings), 1)


if __name__ == "__main__":
    sys.exit(main())

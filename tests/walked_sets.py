"""Where the order of a set shows: the one house rule that needs to follow names."""

import ast

SET_TYPES = {"set", "frozenset", "Set", "AbstractSet", "MutableSet"}
SET_METHODS = {"union", "intersection", "difference", "symmetric_difference"}
TAKES_ORDER = {"list", "tuple", "enumerate", "iter", "zip", "map", "filter", "next"}
ORDER_BLIND = {"sorted", "sum", "any", "all", "len", "set", "frozenset", "min", "max"}


def find_walked_sets(tree: ast.Module) -> list[int]:
    """Return the lines where a set is walked in its own order, which differs by process."""
    walk = SetWalk(attributes=find_set_attributes(tree))
    walk.visit(tree)
    return walk.lines


def find_set_attributes(tree: ast.Module) -> set[str]:
    """Return the attributes that some class of the file annotates or fills as a set."""
    found = set()
    for node in ast.walk(tree):
        match node:
            case ast.ClassDef(body=body):
                fields = (entry for entry in body if isinstance(entry, ast.AnnAssign))
                found |= {
                    field.target.id
                    for field in fields
                    if isinstance(field.target, ast.Name) and is_set_type(field.annotation)
                }
            case ast.AnnAssign(target=ast.Attribute(attr=name), annotation=kind):
                found |= {name} if is_set_type(kind) else set()
            case ast.Assign(targets=[ast.Attribute(attr=name)], value=value):
                found |= {name} if is_set_display(value) else set()
            case _:
                pass
    return found


class SetWalk(ast.NodeVisitor):
    """Finds where the order of a set shows, following names within a function and attributes."""

    def __init__(self, *, attributes: set[str]) -> None:
        self.lines: list[int] = []
        self.attributes = attributes
        self.scopes: list[set[str]] = [set()]
        self.order_blind: set[ast.AST] = set()

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        """Open a scope: parameters annotated as sets are sets."""
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        self.scopes.append({arg.arg for arg in arguments if is_set_type(arg.annotation)})
        self.generic_visit(node)
        self.scopes.pop()

    def visit_Assign(self, node: ast.Assign) -> None:
        """Remember, or forget, that names hold a set."""
        self.generic_visit(node)
        for target in node.targets:
            if isinstance(target, ast.Name):
                self.remember(target.id, is_set=self.is_set(node.value))

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        """Trust an annotation."""
        self.generic_visit(node)
        if isinstance(node.target, ast.Name):
            self.remember(node.target.id, is_set=is_set_type(node.annotation))

    def visit_For(self, node: ast.For) -> None:
        """A loop over a set."""
        self.see(node.iter)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        """A function that takes its argument in order, or one that does not care."""
        called = node.func.id if isinstance(node.func, ast.Name) else ""
        # Ties of a key are broken by order; plain values that tie are equal.
        if called in ORDER_BLIND and not (called in {"min", "max"} and node.keywords):
            self.order_blind.update(node.args)
        if called in TAKES_ORDER:
            for argument in node.args:
                self.see(argument)
        self.generic_visit(node)

    def visit_Starred(self, node: ast.Starred) -> None:
        """Unpacking."""
        self.see(node.value)
        self.generic_visit(node)

    def visit_SetComp(self, node: ast.SetComp) -> None:
        """From a set into a set: no order shows."""
        self.order_blind.add(node)
        self.visit_comprehension_of(node)

    def visit_ListComp(self, node: ast.ListComp) -> None:
        """A list has the order of what it was made from."""
        self.visit_comprehension_of(node)

    def visit_DictComp(self, node: ast.DictComp) -> None:
        """A dict keeps the order of insertion."""
        self.visit_comprehension_of(node)

    def visit_GeneratorExp(self, node: ast.GeneratorExp) -> None:
        """A generator yields in the order of what it was made from."""
        self.visit_comprehension_of(node)

    def visit_comprehension_of(
        self, node: ast.SetComp | ast.ListComp | ast.DictComp | ast.GeneratorExp
    ) -> None:
        """See each source of a comprehension, unless its order is lost again."""
        if node not in self.order_blind:
            for generator in node.generators:
                self.see(generator.iter)
        self.generic_visit(node)

    def see(self, iterated: ast.expr) -> None:
        """Note a place where `iterated` is walked in order."""
        if self.is_set(iterated):
            self.lines.append(iterated.lineno)

    def remember(self, name: str, *, is_set: bool) -> None:
        """Keep what an assignment says of a name in the innermost scope."""
        self.scopes[-1].discard(name)
        if is_set:
            self.scopes[-1].add(name)

    def is_set(self, node: ast.expr) -> bool:
        """Tell whether an expression is known to be a set."""
        match node:
            case ast.Attribute(attr=name):
                return name in self.attributes
            case ast.Name(id=name):
                return any(name in scope for scope in self.scopes)
            case ast.Call(func=ast.Attribute(attr=method, value=owner)):
                return method in SET_METHODS and self.is_set(owner)
            case ast.BinOp(left=left, op=ast.BitOr() | ast.BitAnd() | ast.BitXor() | ast.Sub()):
                return self.is_set(left) or is_keys_view(left)
            case _:
                return is_set_display(node)


def is_set_display(node: ast.expr) -> bool:
    """Tell whether an expression makes a set on the spot."""
    match node:
        case ast.Set() | ast.SetComp() | ast.Call(func=ast.Name(id="set" | "frozenset")):
            return True
        case _:
            return False


def is_set_type(annotation: ast.expr | None) -> bool:
    """Tell whether an annotation names a set type."""
    if isinstance(annotation, ast.Subscript):
        annotation = annotation.value
    return isinstance(annotation, ast.Name) and annotation.id in SET_TYPES


def is_keys_view(node: ast.expr) -> bool:
    """Tell whether an expression is `mapping.keys()`, which behaves as a set under an operator."""
    return isinstance(node, ast.Call) and ast.unparse(node.func).endswith(".keys")

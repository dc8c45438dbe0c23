"""Mutants: copies of a module with one small fault each, such as people make."""

import ast
import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Final

SWAPS: Final[dict[type[ast.AST], type[ast.AST]]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
    ast.Eq: ast.NotEq,
    ast.NotEq: ast.Eq,
    ast.Is: ast.IsNot,
    ast.IsNot: ast.Is,
    ast.In: ast.NotIn,
    ast.NotIn: ast.In,
    ast.And: ast.Or,
    ast.Or: ast.And,
    ast.Add: ast.Sub,
    ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv,
    ast.FloorDiv: ast.Mult,
    ast.Mod: ast.Add,
    ast.Continue: ast.Break,
    ast.Break: ast.Continue,
}
CLEANERS: Final = frozenset({"lower", "upper", "strip", "lstrip", "rstrip", "removeprefix", "removesuffix", "casefold"})
MAX_SHOWN: Final = 100
NO_FAULT: Final = frozenset({"slots", "repr", "kw_only"})  # arguments that change no decision

Change = Callable[[], ast.AST]


@dataclass(frozen=True, kw_only=True)
class Mutant:
    """A module with one fault.

    Args:
        module: its dotted name.
        line: where the fault is.
        fault: the code before and after.
        tree: the module.
    """

    module: str
    line: int
    fault: str
    tree: ast.Module

    def __str__(self) -> str:
        return f"{self.module}:{self.line}: {self.fault}"


def mutants(module: str, source: str) -> Iterator[Mutant]:
    """Make every mutant of a module.

    Args:
        module: its dotted name.
        source: its text.

    Yields:
        Mutants, in the order of the text.
    """
    whole = ast.parse(source)
    for number, node in enumerate(_code(whole)):
        for choice, change in enumerate(_changes(node)):
            tree = copy.deepcopy(whole)
            target = next(found for at, found in enumerate(_code(tree)) if at == number)
            replacement = list(_changes(target))[choice]()
            _Replace(target, ast.copy_location(replacement, target)).visit(tree)
            ast.fix_missing_locations(tree)
            fault = f"{_shown(node)}  ->  {_shown(change())}"
            yield Mutant(module=module, line=getattr(node, "lineno", 0), fault=fault, tree=tree)


def _code(node: ast.AST) -> Iterator[ast.AST]:
    """Walk through what is executed; annotations and docstrings are not."""
    for name, value in ast.iter_fields(node):
        if name in {"annotation", "returns", "type_params"} or (isinstance(node, ast.keyword) and node.arg in NO_FAULT):
            continue
        for child in value if isinstance(value, list) else [value]:
            if isinstance(child, ast.AST) and not (isinstance(child, ast.Expr) and isinstance(child.value, ast.Constant)):
                yield child
                yield from _code(child)


def _changes(node: ast.AST) -> Iterator[Change]:
    """List what can be made of a node."""
    yield from _other_operators(node)
    yield from _other_values(node)
    yield from _other_ways(node)


def _other_operators(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Compare():
            for at, operator in enumerate(node.ops):
                yield partial(_with, node, ops=[*node.ops[:at], SWAPS[type(operator)](), *node.ops[at + 1 :]])
        case ast.BoolOp() | ast.BinOp() | ast.AugAssign() if type(node.op) in SWAPS:
            yield partial(_with, node, op=SWAPS[type(node.op)]())
        case ast.UnaryOp(op=ast.Not()):
            yield lambda: node.operand


def _other_values(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.Constant(value=bool(value)):
            yield partial(ast.Constant, value=not value)
        case ast.Constant(value=int(value) | float(value)):
            yield partial(ast.Constant, value=value + 1)
        case ast.Constant(value=str(value)):
            yield partial(ast.Constant, value=value[:-1] if value else "x")
        case ast.Constant(value=bytes(value)):
            yield partial(ast.Constant, value=value[:-1] if value else b"x")
        case ast.Call(func=ast.Attribute(attr=name, value=value)) if name in CLEANERS:
            yield lambda: value


def _other_ways(node: ast.AST) -> Iterator[Change]:
    match node:
        case ast.If() | ast.IfExp() | ast.While():
            yield partial(_with, node, test=ast.Constant(value=True))
            yield partial(_with, node, test=ast.Constant(value=False))
        case ast.Continue() | ast.Break():
            yield SWAPS[type(node)]
        case ast.Return(value=ast.expr() as value) if not (isinstance(value, ast.Constant) and value.value is None):
            yield partial(_with, node, value=ast.Constant(value=None))
        case ast.Raise() | ast.Expr(value=ast.Call()):
            yield ast.Pass
        case ast.comprehension(ifs=[_, *_]):
            yield partial(_with, node, ifs=[])


def _with(node: ast.AST, **fields: object) -> ast.AST:
    changed = copy.copy(node)
    for name, value in fields.items():
        setattr(changed, name, value)
    return changed


class _Replace(ast.NodeTransformer):
    """Put one node in the place of another."""

    def __init__(self, former: ast.AST, new: ast.AST) -> None:
        self._former = former
        self._new = new

    def visit(self, node: ast.AST) -> ast.AST:
        """Replace the node, or look inside."""
        return self._new if node is self._former else self.generic_visit(node)


def _shown(node: ast.AST) -> str:
    text = ast.unparse(ast.fix_missing_locations(node)) if not isinstance(node, ast.comprehension) else f"for{ast.unparse(node)[4:]}"
    line = text.split("\n")[0]
    return line if len(line) <= MAX_SHOWN else f"{line[:MAX_SHOWN]}…"

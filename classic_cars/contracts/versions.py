"""A digest of what code does, for versions: functions by their bytecode, and with all that they call here.

Wording, comments and line numbers do not change it; a constant, an operator or a helper's body does. Bytecode is
that of one Python version, which the project pins.
"""

from __future__ import annotations

import hashlib
import types
from collections.abc import Mapping
from typing import Any

#: Functions of installed packages count by their name: their versions are locked.
INSTALLED = ("site-packages", "lib/python")


def digest(*demands: Any) -> str:
    """Twelve hexadecimal digits."""
    text = repr([described(each, set()) for each in demands])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def described(value: Any, seen: set[int]) -> Any:
    """A value as plain data in which nothing depends on the process: no addresses, no order of sets."""
    if isinstance(value, types.FunctionType):
        return _function(value, seen)
    if isinstance(value, types.MethodType):
        return described(value.__func__, seen)
    if isinstance(value, types.CodeType):
        return _code(value, seen)
    if isinstance(value, Mapping):
        return [(described(name, seen), described(each, seen)) for name, each in value.items()]
    if isinstance(value, set | frozenset):
        return sorted(repr(described(each, seen)) for each in value)
    if isinstance(value, list | tuple):
        return [described(each, seen) for each in value]
    if isinstance(value, type | types.ModuleType):
        return value.__name__
    if dataclass_fields := getattr(value, "__dataclass_fields__", None):
        return [type(value).__name__, *(described(getattr(value, name), seen) for name in dataclass_fields)]
    text = repr(value)
    return type(value).__qualname__ if " at 0x" in text else text


def _function(function: types.FunctionType, seen: set[int]) -> Any:
    if any(part in function.__code__.co_filename for part in INSTALLED):
        return f"{function.__module__}.{function.__qualname__}"
    cells = [_cell(each) for each in function.__closure__ or ()]
    known = hash((id(function.__code__), *map(id, cells)))
    if known in seen:
        return function.__qualname__
    seen.add(known)
    names = _names(function.__code__)
    named = {name: function.__globals__[name] for name in names if name in function.__globals__}
    for module in [each for each in named.values() if isinstance(each, types.ModuleType)]:
        if not any(part in str(getattr(module, "__file__", INSTALLED[0])) for part in INSTALLED):
            named |= {f"{module.__name__}.{name}": vars(module)[name] for name in names if name in vars(module)}
    return [
        _code(function.__code__, seen, function.__doc__),
        described(function.__defaults__, seen),
        described(function.__kwdefaults__ or {}, seen),
        described(cells, seen),
        described(dict(sorted(named.items())), seen),
    ]


def _code(code: types.CodeType, seen: set[int], wording: str | None = None) -> Any:
    constants = [each for each in code.co_consts if wording is None or each != wording]
    return [code.co_code.hex(), code.co_names, [described(each, seen) for each in constants]]


def _names(code: types.CodeType) -> set[str]:
    """Names that the code, or a function inside of it, looks up."""
    inner = [each for each in code.co_consts if isinstance(each, types.CodeType)]
    return set(code.co_names).union(*map(_names, inner)) if inner else set(code.co_names)


def _cell(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:
        return None  # not filled yet: the function refers to itself

"""Read pickles without running anything that they name.

A pickle is a small program: it names functions and calls them. The reader
here executes the instructions itself. A name is looked up in a table, whose
entries build plain containers, numbers and arrays; any other name is refused.
numpy's own functions are not in the table, because numpy trusts the type that
a pickle gives to an array: with a forged one it takes bytes of the file for
addresses in memory.
"""

import pickle
import pickletools
import re
from collections import Counter, OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, BinaryIO

import numpy as np
from mmengine.logging import HistoryBuffer

#: Deepest nesting of containers.
MAX_DEPTH = 100
#: Integers that are larger cannot be keys: a file could choose many that all
#: have the same hash, and every look-up would compare them one by one.
MAX_KEY = 2**60


class ForbiddenName(pickle.UnpicklingError):
    """A pickle names a function or class that is not in the table.

    Args:
        name: Module and name, for example ``os.system``.
    """

    def __init__(self, name: str) -> None:
        super().__init__(f'{name} is not allowed')
        self.name = name


class Function:
    """A callable of the table: a pickle can call it, but not modify it."""

    __slots__ = ('call',)

    def __init__(self, call: Callable[..., Any]) -> None:
        self.call = call


class Unfinished:
    """An object that a pickle builds in several steps."""

    __slots__ = ()

    def build(self, state: Any) -> None:
        """Take the state, which comes after the object in the file."""
        raise pickle.UnpicklingError('a state for what has none')

    def result(self, resolve: Callable[[Any], Any]) -> Any:
        """Return the finished object.

        Args:
            resolve: Returns the finished object of a part.
        """
        raise NotImplementedError


def are_sizes(numbers: Any) -> bool:
    """Whether a value is a tuple of a few integers from 0 to 2^60."""
    return (
        isinstance(numbers, tuple)
        and len(numbers) <= MAX_DEPTH
        and all(type(n) is int and 0 <= n < MAX_KEY for n in numbers)
    )


class _DType(Unfinished):
    """``numpy.dtype``: numbers, strings and objects, no records."""

    __slots__ = ('spec',)

    def __init__(self, spec: Any, *_: Any) -> None:
        # Only text is put into messages: to print nested containers that share
        # their parts could take for ever.
        if not isinstance(spec, str):
            raise pickle.UnpicklingError('an array without a type')
        if not re.fullmatch(r'b1|[iu][1248]|f[248]|U\d{1,4}|O8?', spec):
            raise pickle.UnpicklingError(f'an array of {spec[:40]!r}')
        self.spec = spec

    def build(self, state: Any) -> None:
        _, order, subarray, names, fields, *_ = state
        if subarray is not None or names is not None or fields is not None:
            raise pickle.UnpicklingError('an array of records')
        if order == '>':
            self.spec = f'>{self.spec}'

    def result(self, resolve: Callable[[Any], Any]) -> np.dtype:
        del resolve
        return np.dtype(self.spec)

    def read(self, content: Any) -> np.ndarray:
        """Decode raw bytes to values of the machine's byte order."""
        if isinstance(content, str):
            content = content.encode('latin1')
        if 'O' in self.spec or not isinstance(content, bytes):
            raise pickle.UnpicklingError('objects where numbers belong')
        found = np.frombuffer(content, self.spec)
        return found.astype(found.dtype.newbyteorder('='))


class _Array(Unfinished):
    """``numpy.ndarray``; an array of objects becomes a list."""

    __slots__ = ('values',)

    def __init__(self, *_: Any) -> None:
        self.values: Any = None

    def build(self, state: Any) -> None:
        _, shape, dtype, by_columns, content = state
        if not isinstance(dtype, _DType) or not are_sizes(shape):
            raise pickle.UnpicklingError('an array without type or shape')
        if isinstance(content, list):
            if 'O' not in dtype.spec or len(shape) > 1:
                raise pickle.UnpicklingError(f'objects of shape {shape}')
            if len(content) != (shape[0] if shape else 1):
                raise pickle.UnpicklingError(
                    f'{len(content)} values for {shape}'
                )
            self.values = content if shape else content[0]
            return
        order: Any = 'F' if by_columns else 'C'
        self.values = dtype.read(content).reshape(shape, order=order)

    def result(self, resolve: Callable[[Any], Any]) -> Any:
        return resolve(self.values)


class _History(Unfinished):
    """mmengine's ``HistoryBuffer``, in which a run keeps its losses.

    Its list of statistics, which are functions, is not taken from the file.
    """

    __slots__ = ('state',)

    def __init__(self) -> None:
        self.state: Any = {}

    def build(self, state: Any) -> None:
        self.state = state

    def result(self, resolve: Callable[[Any], Any]) -> HistoryBuffer:
        parts = [
            resolve(self.state[key])
            for key in ('_log_history', '_count_history', 'max_length')
        ]
        for part in parts[:2]:
            if (
                not isinstance(part, np.ndarray)
                or part.dtype.kind not in 'iuf'
            ):
                raise pickle.UnpicklingError('a history that has no numbers')
        if type(parts[2]) is not int:
            raise pickle.UnpicklingError('a history without its length')
        return HistoryBuffer(*parts)


def _scalar(dtype: Any, content: Any) -> Any:
    if not isinstance(dtype, _DType):
        raise pickle.UnpicklingError('a number without a type')
    (value,) = dtype.read(content)
    return value


def _encode(text: str, coding: str) -> bytes:
    # Protocol 2 stores bytes as latin1 text. Other codecs are refused: some
    # of them decompress, and a small file could fill the memory.
    if coding not in ('latin1', 'latin-1'):
        raise pickle.UnpicklingError('a coding that is not latin1')
    return text.encode('latin1')


def _pairs(given: Any = ()) -> list[tuple[Any, Any]]:
    given = given.items() if isinstance(given, dict) else given
    return [(_key(name), value) for name, value in given]


def _statistic(owner: Any, name: str) -> None:
    """Stands for ``getattr``, by which a HistoryBuffer names its methods."""
    if owner is not _HISTORY or name not in ('min', 'max', 'current', 'mean'):
        raise ForbiddenName('builtins.getattr')


_HISTORY = Function(_History)
_GETATTR = Function(_statistic)
_SET = Function(lambda given=(): {_key(item) for item in given})

#: Names that a pickle may use.
NAMES: dict[str, Any] = {
    '_codecs.encode': Function(_encode),
    'builtins.set': _SET,
    '__builtin__.set': _SET,
    'builtins.getattr': _GETATTR,
    '__builtin__.getattr': _GETATTR,
    'collections.Counter': Function(lambda *a: Counter(dict(_pairs(*a)))),
    'collections.OrderedDict': Function(lambda *a: OrderedDict(_pairs(*a))),
    'mmengine.logging.history_buffer.HistoryBuffer': _HISTORY,
    'numpy.dtype': Function(_DType),
    'numpy.ndarray': Function(_Array),
}
for _package in ('numpy.core', 'numpy._core'):
    NAMES[f'{_package}.multiarray._reconstruct'] = Function(_Array)
    NAMES[f'{_package}.multiarray.scalar'] = Function(_scalar)


def _key(key: Any) -> Any:
    """Check a key: no nested tuples, whose hash may take for ever."""
    if isinstance(key, np.generic):
        key = key.item()
    if key is None or isinstance(key, (str, bytes, bool)):
        return key
    if isinstance(key, int) and abs(key) < MAX_KEY:
        return key
    raise pickle.UnpicklingError(f'a key of type {type(key).__name__}')


def _is_metadata(state: Any) -> bool:
    return isinstance(state, dict) and list(state) == ['_metadata']


class SafeUnpickler:
    """Executes the instructions of a pickle.

    Every instruction takes time and memory in proportion to its length in the
    file, so a small file cannot ask for much.

    Args:
        file: Where the pickle begins; has to be in memory, so that reading
            more than it has returns what is there.
        names: Further names that are allowed.
        persistent: Returns the object for an id that is stored outside of the
            pickle; None: there are no such objects.
    """

    def __init__(
        self,
        file: BinaryIO,
        names: Mapping[str, Any] | None = None,
        persistent: Callable[[Any], Any] | None = None,
    ) -> None:
        self._file = file
        self._names = {**NAMES, **(names or {})}
        self._persistent = persistent
        self._stack: list[Any] = []
        self._marks: list[list[Any]] = []
        self._memo: dict[int, Any] = {}

    def load(self) -> Any:
        """Return the object; parts of it may be :class:`Unfinished`.

        Raises:
            Exception: Any exception, if the pickle is damaged;
                :class:`ForbiddenName` for a name that is not allowed.
        """
        push = self._stack.append
        arg: Any
        for opcode, arg, _ in pickletools.genops(self._file):
            name = opcode.name
            if name in _PUSH_ARG:
                push(arg)
            elif name in ('BINGET', 'LONG_BINGET', 'GET'):
                push(self._memo[arg])
            elif name in ('BINPUT', 'LONG_BINPUT', 'PUT'):
                self._memo[arg] = self._stack[-1]
            elif name == 'STOP':
                return self._stack.pop()
            elif name not in ('PROTO', 'FRAME'):
                method = getattr(self, f'_{name.lower()}', None)
                if method is None:
                    raise pickle.UnpicklingError(f'instruction {name}')
                method(arg)
                push = self._stack.append
        raise pickle.UnpicklingError('cut off')

    def _popped(self) -> list[Any]:
        items = self._stack
        self._stack = self._marks.pop()
        return items

    def _mark(self, _: Any) -> None:
        self._marks.append(self._stack)
        self._stack = []

    def _pop(self, _: Any) -> None:
        self._stack.pop() if self._stack else self._popped()

    def _pop_mark(self, _: Any) -> None:
        self._popped()

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _none(self, _: Any) -> None:
        self._stack.append(None)

    def _newtrue(self, _: Any) -> None:
        self._stack.append(True)

    def _newfalse(self, _: Any) -> None:
        self._stack.append(False)

    def _empty_list(self, _: Any) -> None:
        self._stack.append([])

    def _empty_dict(self, _: Any) -> None:
        self._stack.append({})

    def _empty_set(self, _: Any) -> None:
        self._stack.append(set())

    def _empty_tuple(self, _: Any) -> None:
        self._stack.append(())

    def _list(self, _: Any) -> None:
        items = self._popped()
        self._stack.append(items)

    def _dict(self, _: Any) -> None:
        items = self._popped()
        self._stack.append({})
        self._put(items)

    def _tuple(self, _: Any) -> None:
        items = self._popped()
        self._stack.append(tuple(items))

    def _tuple1(self, _: Any) -> None:
        self._last(1)

    def _tuple2(self, _: Any) -> None:
        self._last(2)

    def _tuple3(self, _: Any) -> None:
        self._last(3)

    def _last(self, count: int) -> None:
        if len(self._stack) < count:
            raise pickle.UnpicklingError('too few values')
        self._stack[-count:] = [tuple(self._stack[-count:])]

    def _append(self, _: Any) -> None:
        self._extend([self._stack.pop()])

    def _appends(self, _: Any) -> None:
        self._extend(self._popped())

    def _extend(self, items: list[Any]) -> None:
        if type(self._stack[-1]) is not list:
            raise pickle.UnpicklingError('items for what is no list')
        self._stack[-1].extend(items)

    def _setitem(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._put([key, value])

    def _setitems(self, _: Any) -> None:
        self._put(self._popped())

    def _put(self, items: list[Any]) -> None:
        target = self._stack[-1]
        if type(target) not in (dict, OrderedDict, Counter):
            raise pickle.UnpicklingError('items for what is no dict')
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def _additems(self, _: Any) -> None:
        items = self._popped()
        if type(self._stack[-1]) is not set:
            raise pickle.UnpicklingError('items for what is no set')
        self._stack[-1].update(map(_key, items))

    def _global(self, arg: str) -> None:
        module, _, name = arg.partition(' ')
        self._find(module, name)

    def _stack_global(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._find(module, name)

    def _find(self, module: Any, name: Any) -> None:
        if not isinstance(module, str) or not isinstance(name, str):
            raise pickle.UnpicklingError('a name that is no text')
        known = f'{module}.{name}'
        if known not in self._names:
            raise ForbiddenName(known[:200])
        self._stack.append(self._names[known])

    def _reduce(self, _: Any) -> None:
        args, function = self._stack.pop(), self._stack.pop()
        if type(function) is not Function or type(args) is not tuple:
            raise pickle.UnpicklingError('a call of what is no function')
        self._stack.append(function.call(*args))

    _newobj = _reduce

    def _build(self, _: Any) -> None:
        state, target = self._stack.pop(), self._stack[-1]
        if isinstance(target, Unfinished):
            target.build(state)
        elif type(target) is OrderedDict and _is_metadata(state):
            # torch keeps the versions of the modules there.
            target._metadata = state['_metadata']  # type: ignore[attr-defined]
        else:
            raise pickle.UnpicklingError(
                f'a state for a {type(target).__name__}'
            )

    def _binpersid(self, _: Any) -> None:
        if self._persistent is None:
            raise pickle.UnpicklingError('an object outside of the file')
        self._stack.append(self._persistent(self._stack.pop()))


_PUSH_ARG = frozenset(
    (
        'INT', 'BININT', 'BININT1', 'BININT2', 'LONG', 'LONG1', 'LONG4',
        'FLOAT', 'BINFLOAT', 'STRING', 'BINSTRING', 'SHORT_BINSTRING',
        'UNICODE', 'SHORT_BINUNICODE', 'BINUNICODE', 'BINUNICODE8',
        'BINBYTES', 'SHORT_BINBYTES', 'BINBYTES8',
    )
)  # fmt: skip


def finish(value: Any) -> Any:
    """Replace the :class:`Unfinished` parts of a loaded object.

    Each object is visited once, however often it is used.

    Raises:
        pickle.UnpicklingError: Containers are nested more than
            :data:`MAX_DEPTH` deep.
    """
    # The original is kept with its result, so that its id stays its own.
    done: dict[int, tuple[Any, Any]] = {}

    def visit(item: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise pickle.UnpicklingError(f'more than {MAX_DEPTH} levels')
        if id(item) in done:
            return done[id(item)][1]

        def inner(part: Any) -> Any:
            return visit(part, depth + 1)

        if isinstance(item, dict):
            done[id(item)] = item, item
            for key in item:
                item[key] = inner(item[key])
            if hasattr(item, '_metadata'):
                item._metadata = inner(item._metadata)
            return item
        if isinstance(item, list):
            done[id(item)] = item, item
            item[:] = [inner(part) for part in item]
            return item
        result = item
        if type(item) is tuple:
            result = tuple(map(inner, item))
        elif isinstance(item, Unfinished):
            result = item.result(inner)
        elif isinstance(item, Function):
            raise pickle.UnpicklingError('a function where a value belongs')
        else:
            return item
        done[id(item)] = item, result
        return result

    return visit(value, 0)

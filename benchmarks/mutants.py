"""How many small faults put into the package do its tests notice?

Cosmic Ray changes the code: an operator, a comparison, a number, a decorator,
an exception. A seeded sample of its mutants is drawn, the rooms (folders of
``mmprotomtl``) sharing it by their size. Each mutant is written into a copy of
the checkout and meets those tests of its room that execute its line, quick
ones first, until one fails.

    pip install -r benchmarks/mutants.txt
    python benchmarks/mutants.py --out mutants.json [--count 320] [--seed 0]

Of each room the tests without any mutant come first, under coverage. torch and
OpenMMLab are imported once; every test run is a fork, so that it pays only for
importing mmprotomtl. A run that is stopped goes on where it was when it is
started again with the same file. Needs Linux and one core.

``--retry`` lets the mutants that survived meet the tests as they are now, for
example after writing new ones, or with a larger ``--budget``. What each mutant
did at first is kept as ``first``.

``survived`` are the mutants that no test noticed. ``killed`` are those with a
failing test, with an error at import, or with more than the tests' time.
"""

import argparse
import ast
import contextlib
import functools
import importlib
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter, defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
#: Room -> the tests that mirror it, files or folders of ``tests``. Those of
#: tools, converters and configs start programs, each for many seconds.
MIRROR = dict(
    tasks=(
        'test_tasks',
        'test_evaluation',
        'test_visualization.py',
        'test_datasets',
    ),
    evaluation=('test_evaluation', 'test_boundary'),
    models=('test_models',),
    engine=('test_engine', 'test_apis'),
    datasets=('test_datasets', 'test_label_masks'),
    label_masks=('test_label_masks', 'test_datasets/test_pascal_context.py'),
    boundary=('test_boundary',),
    readers=('test_readers', 'test_datasets', 'test_label_masks'),
    visualization=('test_visualization.py', 'test_apis'),
    structures=('test_structures', 'test_models', 'test_datasets'),
    utils=('test_utils', 'test_engine', 'test_label_masks', 'test_models'),
    apis=(
        'test_apis',
        'test_loading/test_hostile_checkpoints.py',
        'test_engine/test_checkpoint_fit.py',
        'test_datasets/test_concat.py',
    ),
    loading=('test_loading',),
    scenes=('test_scenes', 'test_datasets/test_synthetic_scenes.py'),
)
ROOMS = tuple(MIRROR)
#: Tests that start several processes, each of which imports torch.
SLOW = ('test_distributed.py', 'test_sharded.py')
#: What the tests import and no mutant changes.
HEAVY = (
    'mmengine.runner', 'mmpretrain.models', 'mmseg.models', 'pytest',
    'scipy.optimize', 'scipy.sparse',
)  # fmt: skip
#: The lines of a whole file.
WHOLE = (0, 10**9)
#: Comparisons that mean the same for the values that Python shares.
SAME = ('Is_Eq', 'Eq_Is', 'IsNot_NotEq', 'NotEq_IsNot')


def parse_args():
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--out', default='mutants.json', help='the results')
    parser.add_argument('--checkout', default=str(ROOT), help='whose code')
    parser.add_argument('--work', default='/tmp/mutants', help='a folder')
    parser.add_argument('--count', type=int, default=320)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--rooms', nargs='+', default=ROOMS)
    parser.add_argument(
        '--budget', type=float, default=30.0,
        help='seconds of CPU of the tests that a mutant meets',
    )  # fmt: skip
    parser.add_argument('--table', action='store_true', help='print, no run')
    parser.add_argument(
        '--retry', action='store_true', help='the mutants that survived'
    )
    return parser.parse_args()


# -- the sample ------------------------------------------------------------


def places(path: Path) -> dict[tuple, list[tuple[str, int]]]:
    """Where a file can be changed: (line, column) -> the ways, each as an
    operator of Cosmic Ray and the how manieth place of it that is.
    """
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    source = path.read_text()
    skip = annotations(source)
    nodes = [
        node
        for node in ast_nodes(get_ast(source))
        if node.type not in ('name', 'newline', 'string', 'fstring_string')
        and getattr(node, 'value', '') not in list('()[]{},:.=')
    ]
    found = defaultdict(list)
    for name in sorted(operator_names()):
        operator = get_operator(name)
        if operator.arguments() or name.endswith(SAME):
            continue
        operator = operator()
        number = 0
        for node in nodes:
            for start, _ in operator.mutation_positions(node):
                if not any(a <= start < b for a, b in skip):
                    found[start].append((name, number))
                number += 1
    return found


def annotations(source: str) -> list[tuple[tuple, tuple]]:
    """From where to where a file's annotations of types are."""
    found = []
    for node in ast.walk(ast.parse(source)):
        for name in ('annotation', 'returns'):
            part = getattr(node, name, None)
            if part is not None:
                found.append(
                    (
                        (part.lineno, part.col_offset),
                        (part.end_lineno, part.end_col_offset),
                    )
                )
    return found


def sample(root: Path, rooms, count: int, seed: int) -> list[dict]:
    """Mutants: every place of a room is as likely, then every way."""
    by_room = {}
    for room in rooms:
        by_room[room] = [
            (str(path.relative_to(root)), place, ways)
            for path in sorted((root / 'mmprotomtl' / room).rglob('*.py'))
            for place, ways in sorted(places(path).items())
        ]
    total = sum(map(len, by_room.values()))
    mutants = []
    for room, found in by_room.items():
        rng = random.Random(f'{seed} {room}')
        share = max(round(count * len(found) / total), 20)
        for file, place, ways in rng.sample(found, min(share, len(found))):
            name, number = rng.choice(ways)
            mutants.append(
                dict(
                    room=room, file=file, line=place[0], column=place[1],
                    operator=name.split('/')[1], number=number,
                )
            )  # fmt: skip
    return mutants


# -- running tests in a fork -----------------------------------------------


class Watch:
    """A plugin of pytest: the CPU that each test takes, and what fails."""

    def __init__(self, coverage=None):
        self.coverage = coverage
        self.seconds = {}
        self.failed = []

    def pytest_runtest_logstart(self, nodeid, location):
        """The clock starts."""
        self._start = cpu()
        if self.coverage is not None:
            self.coverage.switch_context(nodeid)

    def pytest_runtest_logfinish(self, nodeid, location):
        """It stops."""
        self.seconds[nodeid] = cpu() - self._start

    def pytest_runtest_logreport(self, report):
        """Note a failure."""
        if report.failed and report.nodeid not in self.failed:
            self.failed.append(report.nodeid)

    def pytest_collectreport(self, report):
        """Note a file of tests that cannot be imported."""
        if report.failed:
            self.failed.append(f'{report.nodeid} (import)')


def cpu() -> float:
    """Seconds of CPU that this process and its children took."""
    return sum(os.times()[:4])


def preload() -> None:
    """Import what all tests import, and what no mutant changes."""
    os.environ['OMP_NUM_THREADS'] = '1'
    for name in HEAVY:
        importlib.import_module(name)
    import cv2
    import torch

    torch.set_num_threads(1)
    cv2.setNumThreads(0)
    assert 'mmprotomtl' not in sys.modules


def forked(root: Path, tests: list[str], seconds: float, trace=None) -> dict:
    """Run tests in a fork.

    Args:
        root: Checkout.
        tests: Their ids.
        seconds: CPU after which they are stopped.
        trace: File for their coverage.

    Returns:
        ``code``, pytest's; ``failed``; ``seconds``, of each test.
    """
    answer = root.parent / 'answer.json'
    answer.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        try:
            in_child(root, tests, seconds, trace, answer)
        finally:
            os._exit(3)
    # The machine may be busy with other things, and a mutant may sleep.
    end = time.time() + 10 * seconds
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.time() > end:
            os.killpg(child, signal.SIGKILL)
            os.waitpid(child, 0)
            break
        time.sleep(0.05)
    # Workers of loaders whose parent was stopped.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child, signal.SIGKILL)
    if not answer.exists():
        return dict(code=None, failed=['(no end)'], seconds={})
    return json.loads(answer.read_text())


def in_child(root, tests, seconds, trace, answer) -> None:
    """What :func:`forked` does in the fork; does not return."""
    os.setsid()
    soft = int(cpu() + seconds) + 1
    resource.setrlimit(resource.RLIMIT_CPU, (soft, soft + 5))
    log = os.open(
        root.parent / 'log.txt', os.O_CREAT | os.O_WRONLY | os.O_TRUNC
    )
    for stream in (1, 2):
        os.dup2(log, stream)
    os.chdir(root)
    sys.path[:] = [
        str(root),
        *(p for p in sys.path if not (Path(p) / 'mmprotomtl').is_dir()),
    ]
    os.environ['PYTHONPATH'] = str(root)
    # Else a mutant's byte code would be taken for the next one's.
    sys.dont_write_bytecode = True
    os.environ['PYTHONDONTWRITEBYTECODE'] = '1'
    coverage = None
    if trace is not None:
        from coverage import Coverage

        coverage = Coverage(data_file=str(trace), source=['mmprotomtl'])
        coverage.start()
    import pytest

    watch = Watch(coverage)
    stop = [] if trace else ['-x']
    code = pytest.main(
        [*tests, '-q', '-p', 'no:cacheprovider', '--tb=short', *stop],
        plugins=[watch],
    )
    if coverage is not None:
        coverage.stop()
        coverage.save()
    answer.write_text(
        json.dumps(
            dict(code=int(code), failed=watch.failed, seconds=watch.seconds)
        )
    )
    os._exit(0)


# -- the whole -------------------------------------------------------------


def copy(checkout: Path, work: Path) -> Path:
    """A copy of a checkout's files that Git knows, as ``work/checkout``."""
    root = work / 'checkout'
    shutil.rmtree(root, ignore_errors=True)
    listed = subprocess.run(
        ['git', 'ls-files'], cwd=checkout, check=True, text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    for name in listed.stdout.splitlines():
        target = root / name
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(checkout / name, target)
    shared = checkout.parent / 'shared'
    if shared.exists() and not (work / 'shared').exists():
        (work / 'shared').symlink_to(shared.resolve())
    return root


def baseline(root: Path, name: str) -> dict:
    """Tests without a mutant: ``seconds`` of each, and ``lines``: file -> line
    -> the tests that execute it. Failing tests are left out.

    Args:
        root: Checkout.
        name: File or folder in ``tests``; none has no tests.
    """
    from coverage import CoverageData

    if not (root / 'tests' / name).exists():
        return dict(seconds={}, lines={})
    tests = [f'tests/{name}', *(f'--ignore-glob=*{slow}' for slow in SLOW)]
    trace = root.parent / 'coverage'
    trace.unlink(missing_ok=True)
    done = forked(root, tests, 3600, trace)
    if done['failed']:
        print('fail without a mutant:', *done['failed'], sep='\n  ')
    data = CoverageData(str(trace))
    data.read()
    lines = {}
    for file in data.measured_files():
        place = str(Path(file).relative_to(root))
        lines[place] = {
            str(line): sorted(set(contexts) - {''} - set(done['failed']))
            for line, contexts in data.contexts_by_lineno(file).items()
        }
    for test in done['failed']:
        done['seconds'].pop(test, None)
    return dict(seconds=done['seconds'], lines=lines)


@functools.cache
def known_baseline(root: Path, room: str, commit: str) -> dict:
    """:func:`baseline` of a room's tests, each run once for each commit."""
    merged = dict(seconds={}, lines={})
    for name in MIRROR[room]:
        path = root.parent / f'{commit[:12]}-{name.replace("/", "-")}.json'
        if not path.exists():
            write(path, baseline(root, name))
        found = json.loads(path.read_text())
        merged['seconds'].update(found['seconds'])
        for file, lines in found['lines'].items():
            known = merged['lines'].setdefault(file, {})
            for line, tests in lines.items():
                known[line] = sorted({*known.get(line, ()), *tests})
    seen = {
        test
        for lines in merged['lines'].values()
        for tests in lines.values()
        for test in tests
    }
    merged['programs'] = sorted(set(merged['seconds']) - seen)
    return merged


def tests_of(mutant: dict, base: dict, budget: float, root: Path) -> list[str]:
    """The tests that meet a mutant, quick ones first.

    Those that execute its line. A line that is run at import, where coverage
    knows only the first test to import it, meets the tests of its function if
    it is in the head of one, else those of its file, else all of its room.
    What no test executes meets the tests that start programs: those that
    execute nothing of the package themselves.
    """
    seconds = base['seconds']
    lines = base['lines'].get(mutant['file'], {})
    source = (root / mutant['file']).read_text()
    first, last, in_body = function_at(source, mutant['line'])
    if in_body:
        tests = lines.get(str(mutant['line']))
    else:
        tests = {
            test
            for line, found in lines.items()
            if first <= int(line) <= last and function_at(source, int(line))[2]
            for test in found
        }
        if (first, last) == WHOLE:
            tests = tests or set(seconds)
    tests = tests or base['programs']
    tests = sorted((t for t in tests if t in seconds), key=seconds.get)
    chosen, spent = [], 0.0
    for test in tests:
        spent += seconds[test]
        if spent > budget and chosen:
            break
        chosen.append(test)
    return chosen


def function_at(source: str, line: int) -> tuple[int, int, bool]:
    """The first and last line of the innermost function at a line, and whether
    the line is in its body; :data:`WHOLE` where there is none.
    """
    found = [
        node
        for node in ast.walk(parsed(source))
        if isinstance(node, ast.FunctionDef)
        and node.lineno <= line <= node.end_lineno
    ]
    if not found:
        return *WHOLE, False
    inner = max(found, key=lambda node: node.lineno)
    return inner.lineno, inner.end_lineno, line >= inner.body[0].lineno


@functools.cache
def parsed(source: str) -> ast.Module:
    """The tree of a file's text."""
    return ast.parse(source)


def apply(root: Path, mutant: dict, stamp: int) -> tuple[str, str]:
    """Write a mutant; returns the file's text before, and the changed line."""
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    path = root / mutant['file']
    before = path.read_text()
    operator = get_operator(f'core/{mutant["operator"]}')()
    after = mutate_code(before, operator, mutant['number'])
    path.write_text(after)
    os.utime(path, (stamp, stamp))
    pairs = zip(before.splitlines(), after.splitlines(), strict=False)
    old, new = next(((a, b) for a, b in pairs if a != b), ('', ''))
    return before, f'{old.strip()}  ->  {new.strip()}'


def table(mutants: list[dict]) -> str:
    """Killed and survived, by room."""
    counts = defaultdict(Counter)
    for mutant in mutants:
        if 'result' in mutant:
            for room in (mutant['room'], 'all'):
                counts[room][mutant['result']] += 1
    rows = ['| room | mutants | killed | survived | share killed |']
    rows += ['|---|---|---|---|---|']
    for room in (*ROOMS, 'all'):
        killed, survived = counts[room]['killed'], counts[room]['survived']
        if killed + survived:
            share = 100 * killed / (killed + survived)
            rows.append(
                f'| {room} | {killed + survived} | {killed} | {survived} '
                f'| {share:.0f} % |'
            )
    return '\n'.join(rows)


def meet(root, mutant: dict, base: dict, budget: float, stamp: int) -> None:
    """Let a mutant meet its tests, and note the result in it."""
    tests = tests_of(mutant, base, budget, root)
    before, change = apply(root, mutant, stamp)
    try:
        if mutant.get('change', change) != change:
            print(f'{mutant["file"]} has changed: {change} is another mutant')
            return
        spent = sum(base['seconds'][test] for test in tests)
        done = dict(code=0, failed=[])
        if tests:
            done = forked(root, tests, 3 * spent + 30)
    finally:
        (root / mutant['file']).write_text(before)
    result = 'survived' if done['code'] == 0 else 'killed'
    mutant.setdefault('first', result)
    mutant.update(
        result=result,
        change=change,
        tests=len(tests),
        by=(done['failed'] or [None])[0],
    )


def head(checkout: str) -> str:
    """The commit of a checkout."""
    done = subprocess.run(
        ['git', 'rev-parse', 'HEAD'], cwd=checkout, check=True, text=True,
        stdout=subprocess.PIPE,
    )  # fmt: skip
    return done.stdout.strip()


def main() -> None:
    """Run."""
    args = parse_args()
    out = Path(args.out)
    state = json.loads(out.read_text()) if out.exists() else {}
    if args.table:
        print(table(state['mutants']))
        return
    work = Path(args.work).resolve()
    work.mkdir(parents=True, exist_ok=True)
    root = copy(Path(args.checkout).resolve(), work)
    preload()
    commit = head(args.checkout)
    if not state:
        state = dict(
            commit=commit,
            seed=args.seed,
            budget=args.budget,
            mutants=sample(root, args.rooms, args.count, args.seed),
        )
        write(out, state)
    if not args.retry and state['commit'] != commit:
        sys.exit(f'{out} has mutants of {state["commit"]}: check that out')
    (work / 'log.txt').touch()
    for number, mutant in enumerate(state['mutants']):
        todo = 'result' not in mutant
        if args.retry:
            todo = mutant.get('result') == 'survived'
            todo &= mutant['room'] in args.rooms
            # Once for each commit and budget.
            todo &= mutant.get('retried') != [commit, args.budget]
        if not todo:
            continue
        base = known_baseline(root, mutant['room'], commit)
        meet(root, mutant, base, args.budget, 10**9 + number)
        if args.retry:
            mutant['retried'] = [commit, args.budget]
        write(out, state)
        print(
            f'{number + 1}/{len(state["mutants"])} {mutant["result"]} '
            f'{mutant["file"]}:{mutant["line"]} {mutant["change"]}',
            flush=True,
        )
    print(table(state['mutants']))


def write(path: Path, value) -> None:
    """Write JSON; the file is the old one or the new one."""
    part = path.with_suffix('.part')
    part.write_text(json.dumps(value, indent=1))
    part.replace(path)


if __name__ == '__main__':
    main()

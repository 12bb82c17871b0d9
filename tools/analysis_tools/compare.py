"""One table over runs: mean and spread over seeds, delta_m, labels.

python tools/analysis_tools/compare.py RUN... [--reference FILE...]
    [--against METHOD...] [--format markdown|csv|latex] [--out FILE]

RUN is a metrics.json that tools/test.py wrote, or the folder that it lies in.
Runs of one config that differ by their seed alone make one row.

With --against, a second table has the paired differences to these methods: of
two runs with the same seed, label mask and test data, in the direction that is
better; mean, standard deviation, 95 percent bootstrap interval, and in how
many pairs the row's method is the better one. `delta_m against it` is the mean
relative change over tasks with the other run of the pair as the reference.
"""

import argparse
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from mmprotomtl.evaluation.delta import (
    Reference,
    differing,
    mean_change,
    read_report,
)
from mmprotomtl.evaluation.paired import Paired, paired
from mmprotomtl.evaluation.tables import WRITERS, write_pairs
from mmprotomtl.utils.errors import check_choice
from mmprotomtl.utils.files import write_text

#: What runs in one table may differ by.
OF_A_RUN = ('label_mask', 'seed')


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description='A table over runs')
    parser.add_argument(
        'runs', nargs='+', metavar='RUN', help='metrics.json, or its folder'
    )
    parser.add_argument(
        '--reference',
        nargs='+',
        default=[],
        metavar='FILE',
        help='metrics.json of single-task runs that delta_m is relative to, '
        'of every seed; default: the delta_m that the runs have',
    )
    parser.add_argument(
        '--against',
        nargs='+',
        metavar='METHOD',
        default=[],
        help='methods (names of the first column) to which paired '
        'differences are shown',
    )
    parser.add_argument(
        '--common',
        action='store_true',
        help='of two methods, pair the seeds and masks that both have; '
        'without it, both must have the same',
    )
    parser.add_argument(
        '--format', choices=sorted(WRITERS), default='markdown'
    )
    parser.add_argument('--out', help='file to write; default: the screen')
    return parser.parse_args()


def load(runs: Sequence[str]) -> dict[str, dict[str, Any]]:
    """File -> its report, all of one test set.

    Raises:
        ValueError: A file is none, or test data are mixed.
    """
    reports: dict[str, dict[str, Any]] = {}
    for run in runs:
        path = Path(run, 'metrics.json') if Path(run).is_dir() else Path(run)
        reports[str(path)] = read_report(path)
    (first, told), *others = reports.items()
    for file, report in others:
        for key, (value, known) in differing(report, told, OF_A_RUN).items():
            raise ValueError(
                f'{file} was not tested as {first} was: its {key} is '
                f'{value!r}, not {known!r}; compare runs that were tested on '
                'the same images by one protocol'
            )
    return reports


def relative_to(
    reports: dict[str, dict[str, Any]], reference: Sequence[str]
) -> str:
    """The runs that ``delta_m`` is relative to, by their configs' names."""
    files = list(reference)
    if not files:
        files = [f for r in reports.values() for f in r.get('reference') or ()]
    named = [
        method(read_report(file), file) if Path(file).is_file() else str(file)
        for file in files
    ]
    return ', '.join(dict.fromkeys(named))


def standing(report: dict[str, Any]) -> dict[str, bool]:
    """``<task>/<metric>`` of a run -> whether higher is better."""
    return {
        f'{name}/{task["metric"]}': task['higher']
        for name, task in report.get('tasks', {}).items()
    }


def delta_m(
    file: str, report: dict[str, Any], reference: Sequence[str]
) -> float | None:
    """The run's ``delta_m``, relative to the references of its own seed."""
    if not reference:
        value: float | None = report['metrics'].get('delta_m')
        return value
    fit = [f for f in reference if not differing(read_report(f), report)]
    chosen = Reference(fit or list(reference))
    try:
        chosen.check(report)
        return chosen.delta_m(report['metrics'], tasks_of(report))
    except ValueError as error:
        raise ValueError(f'{file}: {error}') from error


def about(report: dict[str, Any]) -> tuple[str, ...]:
    """What tells one row from another: method, labels, mask, checkpoint."""
    mask = report.get('label_mask') or dict(protocol='full')
    return (
        method(report) + inference(report),
        labels(mask),
        mask.get('sha256', '-')[:8],
        checkpoint(report),
    )


def method(report: dict[str, Any], unnamed: str = 'unnamed') -> str:
    """The config, and which of its tasks it was where that is a single one."""
    name = Path(report.get('config') or unnamed).stem
    tasks = list(report.get('tasks') or ())
    return f'{name} ({tasks[0]} only)' if len(tasks) == 1 else name


def labels(mask: dict[str, Any]) -> str:
    """How it was decided what is labelled: a protocol, or a published file."""
    options = [f'{k}={v}' for k, v in (mask.get('options') or {}).items()]
    if mask['protocol'] == 'file' and mask.get('source'):
        return Path(mask['source']).name
    return ' '.join([mask['protocol'], *options])


def inference(report: dict[str, Any]) -> str:
    """How the network was run, if not over the whole image at once."""
    cfg = report.get('inference') or {}
    memory = cfg.get('memory', 'own')
    words = [
        *(['slide'] if cfg.get('mode') == 'slide' else []),
        *(['tta'] if cfg.get('tta') else []),
        *(['network size'] if cfg.get('size') == 'network' else []),
        *([f'memory: {memory}'] if memory != 'own' else []),
    ]
    return f' ({", ".join(words)})' if words else ''


def checkpoint(report: dict[str, Any]) -> str:
    """Which checkpoint it is, and on what it was chosen."""
    chosen = report.get('selection') or {}
    if chosen.get('checkpoint') == 'best':
        return f'best {chosen["metric"]} on {chosen["on"]}'
    return chosen.get('checkpoint') or f'epoch {report.get("epoch")}'


def rows_of(
    reports: dict[str, dict[str, Any]], reference: Sequence[str]
) -> tuple[dict[str, bool], list[tuple[tuple[Any, ...], dict[str, Any]]]]:
    """The columns, each with its direction, and the rows.

    Returns:
        Column -> whether higher is better; and for each row the texts of
        :data:`tables.ABOUT` and column -> values over seeds.

    Raises:
        ValueError: A run comes twice.
    """
    columns: dict[str, bool] = {}
    groups: dict[tuple[Any, ...], dict[int | None, Any]] = {}
    for file, report in reports.items():
        seeds = groups.setdefault(about(report), {})
        seed = report.get('seed')
        if seed in seeds:
            raise ValueError(
                f'{file} and {seeds[seed][0]} are both {about(report)[0]} '
                f'with seed {seed}: give each run once'
            )
        values = {key: report['metrics'].get(key) for key in standing(report)}
        values['delta_m'] = delta_m(file, report, reference)
        seeds[seed] = (file, values)
        columns.update(standing(report))
    if any(
        values['delta_m'] is not None
        for seeds in groups.values()
        for _, values in seeds.values()
    ):
        columns['delta_m'] = True
    rows = []
    for texts, seeds in groups.items():
        scores = {
            column: [
                np.nan if values.get(column) is None else values[column]
                for _, values in seeds.values()
            ]
            for column in columns
        }
        rows.append(((*texts, str(len(seeds))), scores))
    return columns, rows


def tasks_of(report: dict[str, Any]) -> dict[str, Any]:
    """Task -> which metric stands for it, as ``delta.Standing``."""
    return {
        name: SimpleNamespace(
            standing_metric=task['metric'], higher_is_better=task['higher']
        )
        for name, task in report.get('tasks', {}).items()
    }


def pairs_of(
    reports: dict[str, dict[str, Any]],
    args: argparse.Namespace,
) -> list[tuple[tuple[str, str, str], dict[str, Paired]]]:
    """The paired differences to the methods of ``--against``.

    Returns:
        For each two methods: method, other one and labels; column -> summary.

    Raises:
        ValueError: There is no such method, or the runs of two methods do not
            make pairs.
    """
    groups: dict[tuple[str, ...], dict[Any, str]] = {}
    for file, report in reports.items():
        name, shown, mask, chosen = about(report)
        runs = groups.setdefault((name, shown, chosen), {})
        key = (report.get('seed'), mask)
        if key in runs:
            raise ValueError(
                f'{file} and {runs[key]} are both {name} with seed {key[0]} '
                f'and mask {mask}: pairs need one of each'
            )
        runs[key] = file
    names = list(dict.fromkeys(name for name, *_ in groups))
    rows: list[tuple[tuple[str, str, str], dict[str, Paired]]] = []
    for (name, shown, _), own in groups.items():
        deltas = [delta_m(f, reports[f], args.reference) for f in own.values()]
        known = [delta for delta in deltas if delta is not None]
        if len(known) == len(deltas):
            # Every one is a difference to the reference's run of its seed.
            row = (name, 'the reference of delta_m', shown)
            rows.append((row, dict(delta_m=paired(known))))
    for other in args.against:
        check_choice('--against', other, names)
        for (name, shown, chosen), own in groups.items():
            theirs = groups.get((other, shown, chosen))
            if name != other and theirs:
                rows.append(
                    (
                        (name, other, shown),
                        _summaries(reports, own, theirs, args),
                    )
                )
    return rows


def _summaries(
    reports: dict[str, dict[str, Any]],
    own: dict[Any, str],
    theirs: dict[Any, str],
    args: argparse.Namespace,
) -> dict[str, Paired]:
    """Column -> summary of the differences between two methods' runs."""
    alone = sorted({*own} ^ {*theirs}, key=str)
    if alone and not args.common:
        file = own.get(alone[0]) or theirs.get(alone[0])
        raise ValueError(
            f'{file} (seed {alone[0][0]}, mask {alone[0][1]}) has no partner '
            'with the same seed and mask; give it, or --common to pair what '
            'both methods have'
        )
    found: dict[str, list[float]] = {}
    for key in own:
        if key in theirs:
            pair = (own[key], theirs[key])
            for column, value in _difference(pair, reports, args).items():
                found.setdefault(column, []).append(value)
    return {column: paired(values) for column, values in found.items()}


def _difference(
    pair: tuple[str, str],
    reports: dict[str, dict[str, Any]],
    args: argparse.Namespace,
) -> dict[str, float]:
    """Column -> by how much the first run of a pair is better."""
    one, other = (reports[file] for file in pair)
    for key, (value, known) in differing(one, other).items():
        raise ValueError(
            f'{pair[0]} and {pair[1]} are no pair: {key} is {value!r} and '
            f'{known!r}'
        )
    tasks = {k: v for k, v in tasks_of(one).items() if k in tasks_of(other)}
    scores, base = (
        {k: np.nan if v is None else v for k, v in r['metrics'].items()}
        for r in (one, other)
    )
    found = {}
    for name, task in tasks.items():
        key = f'{name}/{task.standing_metric}'
        sign = 1 if task.higher_is_better else -1
        found[key] = sign * (scores[key] - base[key])
    deltas = [delta_m(f, reports[f], args.reference) for f in pair]
    if None not in deltas:
        found['delta_m'] = deltas[0] - deltas[1]  # type: ignore[operator]
    found['delta_m against it'] = mean_change(scores, base, tasks)
    return found


def main() -> None:
    """Compare."""
    args = parse_args()
    try:
        reports = load(args.runs)
        columns, rows = rows_of(reports, args.reference)
        reference = relative_to(reports, args.reference)
        pairs = pairs_of(reports, args) if args.against else []
    except ValueError as error:
        raise SystemExit(f'{error}') from error
    text = WRITERS[args.format](columns, rows, reference)
    if args.against:
        text += f'\n{write_pairs(pairs, args.format)}'
    if args.out:
        write_text(args.out, text)
    else:
        print(text, end='')


if __name__ == '__main__':
    main()

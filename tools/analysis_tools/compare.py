"""One table over runs: mean and spread over seeds, delta_m, labels.

python tools/analysis_tools/compare.py RUN... [--reference FILE...]
    [--format markdown|csv|latex] [--out FILE]

RUN is a metrics.json that tools/test.py wrote, or the folder that it lies in.
Runs of one config that differ by their seed alone make one row.
"""

import argparse
import csv
import io
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from mmprotomtl.evaluation.delta import Reference, differing, read_report
from mmprotomtl.utils.files import write_text

#: What runs in one table may differ by.
OF_A_RUN = ('label_mask', 'seed')
#: Text that LaTeX would take for something else.
LATEX = str.maketrans({c: f'\\{c}' for c in '_%#&'})
#: Columns about the rows, before the scores.
ABOUT = ('method', 'labels', 'mask', 'checkpoint', 'seeds')


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description='A table over runs')
    parser.add_argument(
        'runs', nargs='+', metavar='RUN', help='metrics.json, or its folder'
    )
    parser.add_argument(
        '--reference',
        nargs='+',
        metavar='FILE',
        help='metrics.json of single-task runs that delta_m is relative to, '
        'of every seed; default: the delta_m that the runs have',
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
        tasks = {
            name: SimpleNamespace(
                standing_metric=task['metric'],
                higher_is_better=task['higher'],
            )
            for name, task in report.get('tasks', {}).items()
        }
        return chosen.delta_m(report['metrics'], tasks)
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
        :data:`ABOUT` and column -> values over seeds.

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


def spread(values: Sequence[float]) -> float:
    """The standard deviation of a sample; NaN of a single value."""
    return float(np.std(values, ddof=1)) if len(values) > 1 else float('nan')


def cell(values: Sequence[float], pm: str = '±') -> str:
    """Mean and standard deviation as text."""
    mean, std = np.mean(values), spread(values)
    if np.isnan(mean):
        return '-'
    digits = 2 if abs(mean) >= 10 else 3 if abs(mean) >= 1 else 4
    text = f'{mean:.{digits}f}'
    return text if np.isnan(std) else f'{text} {pm} {std:.{digits}f}'


def best(columns: dict[str, bool], rows: list[Any]) -> dict[str, float]:
    """The best mean of each column."""
    found = {}
    for column, higher in columns.items():
        means = [np.mean(scores[column]) for _, scores in rows]
        means = [mean for mean in means if not np.isnan(mean)]
        if means:
            found[column] = max(means) if higher else min(means)
    return found


def markdown(columns: dict[str, bool], rows: list[Any], reference: str) -> str:
    """A table of Markdown, best in bold."""
    top = best(columns, rows)
    heads = [*ABOUT]
    heads += [f'{c} {"↑" if up else "↓"}' for c, up in columns.items()]
    lines = [heads, ['---'] * len(heads)]
    for texts, scores in rows:
        cells = list(texts)
        for column, values in scores.items():
            text = cell(values)
            is_best = np.mean(values) == top.get(column)
            cells.append(f'**{text}**' if is_best else text)
        lines.append(cells)
    text = '\n'.join(f'| {" | ".join(line)} |' for line in lines) + '\n'
    if 'delta_m' in columns:
        text += f'\ndelta_m in percent, against {reference}.\n'
    return text


def latex(columns: dict[str, bool], rows: list[Any], reference: str) -> str:
    """A tabular of LaTeX, best in bold."""
    top = best(columns, rows)
    heads = [*ABOUT]
    lines = []
    for column, up in columns.items():
        arrow = r'$\uparrow$' if up else r'$\downarrow$'
        heads.append(f'{column.translate(LATEX)} {arrow}')
    for texts, scores in rows:
        cells = [text.translate(LATEX) for text in texts]
        for column, values in scores.items():
            text = cell(values, r'\pm')
            if np.mean(values) == top.get(column):
                text = rf'\mathbf{{{text}}}'
            cells.append(text if text == '-' else f'${text}$')
        lines.append(' & '.join(cells) + r' \\')
    form = 'l' * len(ABOUT) + 'r' * len(columns)
    said = f'% delta_m in percent, against {reference}'
    return '\n'.join(
        [
            *([said] if 'delta_m' in columns else []),
            rf'\begin{{tabular}}{{{form}}}',
            r'\hline',
            ' & '.join(heads) + r' \\',
            r'\hline',
            *lines,
            r'\hline',
            r'\end{tabular}',
            '',
        ]
    )


def comma_separated(
    columns: dict[str, bool], rows: list[Any], reference: str
) -> str:
    """CSV: mean and standard deviation in columns of their own."""
    file = io.StringIO()
    writer = csv.writer(file, lineterminator='\n')
    heads = [h for column in columns for h in (column, f'{column} std')]
    more = ['delta_m reference'] if 'delta_m' in columns else []
    writer.writerow([*ABOUT, *heads, *more])
    for texts, scores in rows:
        numbers = [f(v) for v in scores.values() for f in (np.mean, spread)]
        cells = ['' if np.isnan(n) else repr(float(n)) for n in numbers]
        writer.writerow([*texts, *cells, *([reference] if more else [])])
    return file.getvalue()


WRITERS = dict(markdown=markdown, latex=latex, csv=comma_separated)


def main() -> None:
    """Compare."""
    args = parse_args()
    try:
        reports = load(args.runs)
        columns, rows = rows_of(reports, args.reference or ())
        against = relative_to(reports, args.reference or ())
    except ValueError as error:
        raise SystemExit(f'{error}') from error
    text = WRITERS[args.format](columns, rows, against)
    if args.out:
        write_text(args.out, text)
    else:
        print(text, end='')


if __name__ == '__main__':
    main()

"""Tables of results as Markdown, LaTeX and CSV."""

import csv
import io
from collections.abc import Sequence
from typing import Any

import numpy as np

from .paired import Paired

#: Text that LaTeX would take for something else.
LATEX = str.maketrans({c: f'\\{c}' for c in '_%#&'})
#: Columns about the rows, before the scores.
ABOUT = ('method', 'labels', 'mask', 'checkpoint', 'seeds')


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


#: Format -> writer of the table over runs.
WRITERS = dict(markdown=markdown, latex=latex, csv=comma_separated)


def pair_texts(
    rows: list[tuple[tuple[str, str, str], dict[str, Paired]]],
) -> list[list[str]]:
    """The table of pairs as texts, its head first."""
    columns = list(dict.fromkeys(c for _, found in rows for c in found))
    lines = [['method', 'against', 'labels', 'pairs', *columns]]
    for texts, found in rows:
        number = max((p.pairs for p in found.values()), default=0)
        cells = [_gain(found[c]) if c in found else '-' for c in columns]
        lines.append([*texts, str(number), *cells])
    return lines


def _gain(found: Paired) -> str:
    """A summary as text: ``+0.52 ± 0.30 [0.20, 0.81], 4 of 5``."""
    if np.isnan(found.mean):
        return '-'
    digits = 2 if max(map(abs, found[:4])) >= 0.1 else 4
    text = f'{found.mean:+.{digits}f}'
    if found.pairs > 1:
        text += f' ± {found.std:.{digits}f}'
        text += f' [{found.low:.{digits}f}, {found.high:.{digits}f}]'
    return f'{text}, {found.wins} of {found.pairs}'


def write_pairs(rows: list[Any], form: str) -> str:
    """The table of pairs in one of the formats."""
    if form == 'csv':
        file = io.StringIO()
        writer = csv.writer(file, lineterminator='\n')
        writer.writerow(
            ['method', 'against', 'labels', 'score', *Paired._fields]
        )
        for texts, found in rows:
            for column, summary in found.items():
                cells = ['' if np.isnan(v) else repr(v) for v in summary]
                writer.writerow([*texts, column, *cells])
        return file.getvalue()
    head, *lines = pair_texts(rows)
    if form == 'latex':
        body = [
            ' & '.join(c.translate(LATEX).replace('±', r'$\pm$') for c in line)
            + r' \\'
            for line in (head, *lines)
        ]
        return '\n'.join(
            [
                rf'\begin{{tabular}}{{{"l" * len(head)}}}', r'\hline', body[0],
                r'\hline', *body[1:], r'\hline', r'\end{tabular}', '',
            ]
        )  # fmt: skip
    table = [head, ['---'] * len(head), *lines]
    return '\n'.join(f'| {" | ".join(line)} |' for line in table) + '\n'

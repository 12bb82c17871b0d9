"""Check the data that a config names: all of it, to the last problem."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial

from prettytable import PrettyTable

from mmprotomtl.readers import DataFile, check_size, picture_doubts
from mmprotomtl.readers.pictures import PHOTO_ENDINGS
from mmprotomtl.registry import DATASETS
from mmprotomtl.tasks import Task
from mmprotomtl.utils.errors import DataFileError
from mmprotomtl.utils.parallel import parallel_map

from .multitask_dataset import MultiTaskDataset
from .transforms.loading import LoadMultiTaskImage, check_stored

LOADERS = ('train', 'val', 'test')
#: Fewer samples are read before a pool of processes has started.
POOL_FROM = 64
#: As many files of a folder with one problem get a line each in the text.
ALIKE = 3


def check_config(
    cfg: Mapping,
    loaders: Sequence[str] = LOADERS,
    workers: int | None = None,
) -> list[dict]:
    """Check the data sets of a config's loaders.

    This reads every image and every label of the config's tasks, those too
    that a label mask hides: it looks after the data and trains nothing.

    Args:
        cfg: The config.
        loaders: Which of ``train``, ``val`` and ``test``; those that the
            config lacks are passed over, and equal ones are read once.
        workers: Processes that read; None: one for each core.

    Returns:
        A report for each data set, see :func:`check_dataset`.
    """
    found: list[tuple[list[str], dict]] = []
    for name in loaders:
        loader = cfg.get(f'{name}_dataloader')
        for part in _single(loader['dataset'] if loader else {}):
            same = [names for names, other in found if other == part]
            if same:
                same[0].append(name)
            else:
                found.append(([name], part))
    if not found:
        raise ValueError(f'the config has no data loader of {list(loaders)}')
    return [
        dict(loader=', '.join(names), **check_dataset(part, workers))
        for names, part in found
    ]


def _single(cfg: Mapping) -> Iterator[dict]:
    """The data sets in a wrapper, without what pipelines do to them."""
    if 'datasets' in cfg or 'dataset' in cfg:
        for part in cfg.get('datasets') or [cfg['dataset']]:
            yield from _single(part)
    elif cfg:
        pipeline = [
            step
            for step in cfg.get('pipeline') or []
            if step['type'] == 'PartialAnnotation'
        ]
        yield dict(cfg, pipeline=pipeline, lazy_init=True)


def check_dataset(cfg: dict, workers: int | None = None) -> dict:
    """Check one data set.

    Args:
        cfg: Its config.
        workers: See :func:`check_config`.

    Returns:
        A report of plain values: ``dataset``, ``split``, ``images``,
        ``published`` (None: not known), ``shapes``, ``tasks`` (what there is
        of each), ``masked`` (whether there should be a label mask),
        ``label_mask`` (None: there is none, or an unusable one), ``errors``
        (what can't be used) and ``warnings`` (what is doubtful), lists of
        dicts with ``file`` and ``problem``.
    """
    report: dict = dict(
        dataset=cfg['type'], split=cfg.get('split', 'train'), images=0,
        published=None, shapes={}, tasks={}, masked=False, label_mask=None,
        errors=[], warnings=[],
    )  # fmt: skip
    errors, warnings = report['errors'], report['warnings']
    try:
        dataset = DATASETS.build(cfg)
        if not isinstance(dataset, MultiTaskDataset):
            raise ValueError(f'{cfg["type"]} is no data set of many tasks')
        dataset.problems = []
        samples = dataset.load_data_list()
    except (ValueError, KeyError, TypeError, OSError) as error:
        errors.append(_problem(error, cfg.get('data_root')))
        return report
    errors.extend(map(_problem, dataset.problems))
    report['split'] = dataset.split
    report['published'] = dataset.PUBLISHED.get(dataset.split)
    report['images'] = len(samples)
    if report['published'] not in (None, len(samples)):
        warnings.append(
            dict(
                file=str(dataset.data_root),
                problem=f'{len(samples)} images, published were '
                f'{report["published"]}',
            )
        )
    if not samples:
        errors.append(dict(file=str(dataset.data_root), problem='no image'))
    for step in dataset._label_maskers():
        report['masked'] = True
        try:
            step.bind(dataset, [info['sample_id'] for info in samples])
            assert step.mask is not None
            report['label_mask'] = step.mask.summary()
            warnings.extend(
                dict(
                    file='the label mask',
                    problem=f'leaves no label of {name}: a run would stop',
                )
                for name in dataset.tasks
                if not report['label_mask']['labels'].get(name)
            )
        except ValueError as error:
            errors.append(_problem(error, step.mask_file))
    chosen = dataset._indices
    if isinstance(chosen, int):
        samples = samples[:chosen] if chosen >= 0 else samples[chosen:]
    elif chosen is not None:
        samples = [samples[place] for place in chosen]
    _read_all(samples, dataset.tasks, report, workers)
    return report


def _problem(error: Exception, file: str | None = None) -> dict:
    if isinstance(error, DataFileError):
        return dict(file=error.path, problem=error.problem)
    # What a reader or a task of the user's raises is a finding too.
    kind = '' if type(error) is ValueError else f'{type(error).__name__}: '
    return dict(file=str(file), problem=f'{kind}{error}')


def _read_all(
    samples: Sequence[dict],
    tasks: Mapping[str, Task],
    report: dict,
    workers: int | None,
) -> None:
    """Read all files and add to the report what they hold."""
    done = parallel_map(partial(_read_one, tasks), samples, workers, POOL_FROM)
    report['read'] = len(samples)
    report['shapes'] = _count(shape for item in done if (shape := item[0]))
    known = {(error['file'], error['problem']) for error in report['errors']}
    for error in (error for item in done for error in item[2]):
        # One file can hold the labels of several tasks.
        if (error['file'], error['problem']) not in known:
            known.add((error['file'], error['problem']))
            report['errors'].append(error)
    report['warnings'].extend(doubt for item in done for doubt in item[3])
    for name, task in tasks.items():
        labels = [item[1][name] for item in done if name in item[1]]
        entry: dict = dict(
            labelled=sum(name in info['labels'] for info in samples),
            readable=len(labels),
            shapes=_count(shape for shape, _ in labels),
        )
        if labels:
            described = [text for _, text in labels]
            entry['summary'] = task.summarise(described)
            entry['empty'] = sum(not item['valid'] for item in described)
            report['warnings'].extend(
                dict(file=f'all labels of {name}', problem=doubt)
                for doubt in task.plausible(entry['summary'])
            )
        report['tasks'][name] = entry


def _count(shapes: Iterator[str]) -> dict[str, int]:
    return dict(Counter(shapes).most_common())


def _read_one(
    tasks: Mapping[str, Task], info: dict
) -> tuple[str | None, dict[str, tuple[str, dict]], list[dict], list[dict]]:
    """Read a sample: its image's shape, its labels' statistics, errors and
    doubts.
    """
    errors, doubts, labels, size = [], [], {}, None
    try:
        size = LoadMultiTaskImage().transform(dict(info))['ori_shape']
        doubts.extend(_doubts(info['image'], label=False))
    except Exception as error:
        errors.append(_problem(error, info['image'].path))
    for name, file in info['labels'].items():
        if name not in tasks:
            continue
        try:
            raw = file.load()
            label = check_stored(tasks[name], file, raw)
            if size is not None:
                check_size(label, size, file.path)
            described = tasks[name].describe(label, raw)
            labels[name] = (_text(label.shape), described)
            doubts.extend(_doubts(file, label=True))
        except Exception as error:
            errors.append(_problem(error, file.path))
    return (_text(size) if size else None), labels, errors, doubts


def _doubts(file: DataFile, label: bool) -> list[dict]:
    """What a picture's metadata makes doubtful."""
    if os.path.splitext(file.path)[1].lower() not in PHOTO_ENDINGS:
        return []
    found = picture_doubts(file.path, label)
    return [dict(file=file.path, problem=problem) for problem in found]


def _text(shape: Sequence[int]) -> str:
    return 'x'.join(str(number) for number in shape[:2])


def format_report(report: dict, most: int = 20) -> str:
    """A report as a text for people.

    Args:
        report: What :func:`check_config` returned of a data set.
        most: Lines of errors, and of warnings; the JSON has all.
    """
    published = report['published']
    lines = [
        f'{report["loader"]}: {report["dataset"]}, part {report["split"]}: '
        f'{report["images"]} images'
        + (f' (published: {published})' if published else '')
        + f', sizes {_sizes(report["shapes"])}'
    ]
    mask = report['label_mask']
    if report['tasks']:
        table = PrettyTable(
            ['task', 'labels', 'used', 'readable', 'empty', 'sizes', 'values'],
            align='l',
        )
        for name, entry in report['tasks'].items():
            used = '?' if report['masked'] else entry['labelled']
            used = mask['labels'].get(name, 0) if mask else used
            values = {
                key: f'{value:.4g}' if isinstance(value, float) else value
                for key, value in entry.get('summary', {}).items()
                if not isinstance(value, dict)
            }
            table.add_row(
                [
                    name, entry['labelled'], used, entry['readable'],
                    entry.get('empty', '-'), _sizes(entry['shapes']),
                    ', '.join(f'{k} {v}' for k, v in values.items()),
                ]
            )  # fmt: skip
        lines.append(str(table))
    if mask:
        lines.append(
            f'label mask: {mask["protocol"]}, seed {mask["seed"]}, sha256 '
            f'{mask["sha256"]}'
        )
    for kind in ('error', 'warning'):
        found = report[f'{kind}s']
        lines.append(f'{len(found)} {kind}{"s" * (len(found) != 1)}')
        texts = list(_together(found))
        lines += [f'  {text}' for text in texts[:most]]
        if len(texts) > most:
            lines.append('  and more (--json has all)')
    return '\n'.join(lines)


def _together(found: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """A line for each finding, but one for a folder with many alike."""
    groups: dict[tuple[str, str], list[str]] = {}
    for item in found:
        folder, name = os.path.split(item['file'])
        groups.setdefault((folder, item['problem']), []).append(name)
    for (folder, problem), names in groups.items():
        if len(names) > ALIKE:
            some = ', '.join(names[:ALIKE])
            yield f'{folder}: {len(names)} files ({some}, ...): {problem}'
        else:
            for name in names:
                yield f'{os.path.join(folder, name)}: {problem}'


def _sizes(shapes: Mapping[str, int]) -> str:
    texts = [f'{shape} ({number})' for shape, number in shapes.items()]
    more = f' and {len(texts) - 3} more' if len(texts) > 3 else ''
    return (', '.join(texts[:3]) + more) or '-'

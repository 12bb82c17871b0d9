"""Check all data that a config uses, and report every problem found."""

import os
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from inspect import signature
from typing import NamedTuple

from mmengine.registry import DefaultScope
from prettytable import PrettyTable

from mmprotomtl.label_masks import LabelMask
from mmprotomtl.readers import DataFile, check_size, picture_doubts
from mmprotomtl.readers.pictures import PHOTO_ENDINGS
from mmprotomtl.registry import DATASETS
from mmprotomtl.tasks import Task
from mmprotomtl.utils.errors import DataFileError
from mmprotomtl.utils.parallel import parallel_map

from .derived import sources_of
from .multitask_dataset import MultiTaskDataset
from .transforms.loading import LoadMultiTaskImage, check_stored
from .transforms.partial_annotation import PartialAnnotation, is_step
from .unwrap import leaf_datasets, wrapped_datasets

LOADERS = ('train', 'val', 'test')
#: Minimum number of samples for which a pool of processes is started; fewer
#: are read faster without one.
POOL_FROM = 64
#: If more files of a folder have the same problem, the text report combines
#: them in one line.
ALIKE = 3


def check_config(
    cfg: Mapping,
    loaders: Sequence[str] = LOADERS,
    workers: int | None = None,
) -> list[dict]:
    """Check the data sets of a config's loaders.

    This reads every image and every label of the config's tasks, including
    the labels that a label mask hides. Nothing is trained.

    Args:
        cfg: The config.
        loaders: Loaders to check, out of ``train``, ``val`` and ``test``.
            Loaders that the config lacks are skipped, and data sets that
            several loaders share are read once.
        workers: Number of processes that read; None: one per CPU core.

    Returns:
        One report per data set, see :func:`check_dataset`. For the parts of a
        ``MultiTaskConcatDataset``, ``part`` of each report and finding names
        the part (``datasets.0``). If the parts do not fit together, the first
        report has an error about it.

    Raises:
        ValueError: The config has none of the loaders.
    """
    found: list[_Found] = []
    wholes = []
    for name in loaders:
        dataset = (cfg.get(f'{name}_dataloader') or {}).get('dataset')
        if not dataset:
            continue
        whole = _without_pipelines(dataset)
        wholes.append((f'{name}_dataloader.dataset', whole))
        parts = list(leaf_datasets(whole))
        for place, part in parts:
            same = [other for other in found if other.cfg == part]
            if not same:
                same = [_Found(part, [], [])]
                found.extend(same)
            same[0].loaders.append(name)
            if len(parts) > 1:
                same[0].places.append(place)
    if not found:
        raise ValueError(f'the config has no data loader of {list(loaders)}')
    reports = []
    for one in found:
        report = check_dataset(one.cfg, workers)
        part = ', '.join(dict.fromkeys(one.places))
        if part:
            for finding in report['errors'] + report['warnings']:
                finding['part'] = part
        names = ', '.join(dict.fromkeys(one.loaders))
        reports.append(dict(loader=names, part=part, **report))
    # A problem of a single part is already in the report of that part.
    known = {error['problem'] for r in reports for error in r['errors']}
    for place, whole in wholes:
        problem = _problem_of_whole(whole)
        if problem is not None and problem not in known:
            known.add(problem)
            reports[0]['errors'].insert(0, dict(file=place, problem=problem))
    return reports


class _Found(NamedTuple):
    """A data set of a config, and all places where the config uses it."""

    cfg: dict
    loaders: list[str]
    places: list[str]


def _without_pipelines(cfg: Mapping) -> dict:
    """Remove all pipeline steps but label masks from a data set's config.

    The data set, or wrapper of data sets, is also made to initialise lazily,
    so that building it reads no list of files.
    """
    inside = [part for _, part in wrapped_datasets(cfg)]
    if not inside:
        masks = [
            step
            for step in cfg.get('pipeline') or []
            if is_step(step, PartialAnnotation)
        ]
        return dict(cfg, pipeline=masks, lazy_init=True)
    parts = [_without_pipelines(part) for part in inside]
    bare = (
        dict(cfg, datasets=parts)
        if 'datasets' in cfg
        else dict(cfg, dataset=parts[0])
    )
    kind = cfg['type']
    kind = DATASETS.get(kind) if isinstance(kind, str) else kind
    if kind is not None and 'lazy_init' in signature(kind).parameters:
        bare['lazy_init'] = True
    return bare


def _problem_of_whole(cfg: dict) -> str | None:
    """Return why a wrapper of data sets cannot be built; None if it can."""
    if not wrapped_datasets(cfg):
        return None
    try:
        # mmengine's wrappers build their parts with the default scope.
        with DefaultScope.overwrite_default_scope(DATASETS.scope):
            DATASETS.build(cfg)
    except (ValueError, KeyError, TypeError, OSError) as error:
        return _problem(error)['problem']
    return None


def check_dataset(cfg: dict, workers: int | None = None) -> dict:
    """Check one data set by reading all its files.

    Args:
        cfg: Config of the data set.
        workers: See :func:`check_config`.

    Returns:
        A report of plain values: ``dataset`` (its type), ``split``, ``images``
        (their number), ``published`` (number of images that its authors
        published, None if unknown), ``shapes``, ``tasks`` (statistics of each
        task's labels), ``masked`` (whether a label mask is set),
        ``label_mask`` (its summary; None if there is no usable one),
        ``derived`` (task -> number of labels that a run would derive from
        those that it sees),
        ``errors`` (files or settings that cannot be used) and ``warnings``
        (doubtful ones). Errors and warnings are lists of dicts with ``file``
        and ``problem``.
    """
    report: dict = dict(
        dataset=cfg['type'], split=cfg.get('split', 'train'), images=0,
        published=None, shapes={}, tasks={}, masked=False, label_mask=None,
        derived={}, errors=[], warnings=[],
    )  # fmt: skip
    errors, warnings = report['errors'], report['warnings']
    try:
        dataset = DATASETS.build(cfg)
        if not isinstance(dataset, MultiTaskDataset):
            raise ValueError(f'{cfg["type"]} is not a MultiTaskDataset')
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
    setting = dataset.partial_labels
    report['masked'] = setting is not None
    try:
        mask = dataset.make_label_mask([info['sample_id'] for info in samples])
    except ValueError as error:
        file = setting.mask_file if setting is not None else None
        errors.append(_problem(error, file or dataset.data_root))
    else:
        report['derived'] = _count_derived(dataset, samples, mask)
        if mask is not None:
            report['label_mask'] = mask.summary()
            warnings.extend(
                dict(
                    file='the label mask',
                    problem=f'hides all labels of {name}: a run would stop',
                )
                for name in dataset.tasks
                if setting is not None
                and not report['label_mask']['labels'].get(name)
                and name not in report['derived']
            )
    chosen = dataset._indices
    if isinstance(chosen, int):
        samples = samples[:chosen] if chosen >= 0 else samples[chosen:]
    elif chosen is not None:
        samples = [samples[place] for place in chosen]
    _read_all(samples, dataset.tasks, report, workers)
    return report


def _count_derived(
    dataset: MultiTaskDataset, samples: Sequence[dict], mask: LabelMask | None
) -> dict[str, int]:
    """Task -> number of labels that are derived from those the mask leaves."""
    found: Counter[str] = Counter()
    for info in samples:
        given = set(info['labels']) & set(dataset.tasks)
        if mask is not None:
            given &= set(mask.labelled[info['sample_id']])
        found.update(sources_of(given, dataset.derived_from).keys())
    return dict(sorted(found.items()))


def _problem(error: Exception, file: str | None = None) -> dict:
    if isinstance(error, DataFileError):
        return dict(file=error.path, problem=error.problem)
    # Readers and tasks of the user may raise other exceptions.
    kind = '' if type(error) is ValueError else f'{type(error).__name__}: '
    return dict(file=str(file), problem=f'{kind}{error}')


def _read_all(
    samples: Sequence[dict],
    tasks: Mapping[str, Task],
    report: dict,
    workers: int | None,
) -> None:
    """Read all files; add their statistics and problems to the report."""
    done = parallel_map(partial(_read_one, tasks), samples, workers, POOL_FROM)
    report['read'] = len(samples)
    report['shapes'] = _count(shape for item in done if (shape := item[0]))
    known = {(error['file'], error['problem']) for error in report['errors']}
    for error in (error for item in done for error in item[2]):
        # One file can contain the labels of several tasks.
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
    """Read one sample.

    Returns:
        Shape of the image, statistics of the labels, errors and warnings.
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
    """Return warnings about the metadata of an image file."""
    if os.path.splitext(file.path)[1].lower() not in PHOTO_ENDINGS:
        return []
    found = picture_doubts(file.path, label)
    return [dict(file=file.path, problem=problem) for problem in found]


def _text(shape: Sequence[int]) -> str:
    return 'x'.join(str(number) for number in shape[:2])


def format_report(report: dict, most: int = 20) -> str:
    """Format a report as text.

    Args:
        report: One report of :func:`check_config`.
        most: Maximum number of lines for errors, and also for warnings.
    """
    published = report['published']
    part = f', {report["part"]}' if report['part'] else ''
    lines = [
        f'{report["loader"]}{part}: {report["dataset"]}, split '
        f'{report["split"]}: '
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
    if report['derived']:
        counts = ', '.join(f'{t} {n}' for t, n in report['derived'].items())
        lines.append(f'derived from the labels used: {counts}')
    for kind in ('error', 'warning'):
        found = report[f'{kind}s']
        lines.append(f'{len(found)} {kind}{"s" * (len(found) != 1)}')
        texts = list(_grouped_lines(found))
        lines += [f'  {text}' for text in texts[:most]]
        if len(texts) > most:
            lines.append('  and more (--json has all)')
    return '\n'.join(lines)


def _grouped_lines(found: Sequence[Mapping[str, str]]) -> Iterator[str]:
    """Yield a line per finding, or one line for many alike in a folder."""
    groups: dict[tuple[str, str, str], list[str]] = {}
    for item in found:
        folder, name = os.path.split(item['file'])
        part = f'{item["part"]}: ' if 'part' in item else ''
        groups.setdefault((part, folder, item['problem']), []).append(name)
    for (part, folder, problem), names in groups.items():
        if len(names) > ALIKE:
            some = ', '.join(names[:ALIKE])
            some = f'{len(names)} files ({some}, ...)'
            yield f'{part}{folder}: {some}: {problem}'
        else:
            for name in names:
                yield f'{part}{os.path.join(folder, name)}: {problem}'


def _sizes(shapes: Mapping[str, int]) -> str:
    texts = [f'{shape} ({number})' for shape, number in shapes.items()]
    more = f' and {len(texts) - 3} more' if len(texts) > 3 else ''
    return (', '.join(texts[:3]) + more) or '-'

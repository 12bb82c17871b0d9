"""Which checkpoint a run goes on from, and whether it is whole."""

import logging
import os
import re
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from mmengine.logging import print_log
from mmengine.runner.checkpoint import _load_checkpoint

from mmprotomtl.utils.errors import DataFileError

#: Names of checkpoints that a run can go on from; ``best_*`` have no state of
#: the optimizer.
TEMPLATES = ('epoch_{}.pth', 'iter_{}.pth')
#: How files of ``torch.save`` before PyTorch 1.6 begin.
PICKLE = b'\x80'


def check_whole(path: str | Path) -> None:
    """Compare the content of a checkpoint with the sums (CRC-32) that
    ``torch.save`` wrote beside each part of it.

    A file in the format of PyTorch before 1.6 has no such sums and passes; so
    does what is no local file (``https://...``).

    Args:
        path: A file, or a folder of them, as strategies that shard the model
            write.

    Raises:
        DataFileError: It is not there, or is damaged.
    """
    if '://' in str(path):
        return
    path = Path(path)
    if path.is_dir():
        for part in sorted(path.rglob('*.pt*')):
            check_whole(part)
        return
    try:
        with path.open('rb') as file:
            if file.read(1) == PICKLE:
                return
        with zipfile.ZipFile(path) as archive:
            damaged = archive.testzip()
    except Exception as error:  # zlib and zipfile raise many kinds.
        raise _unreadable(path, error) from error
    if damaged is not None:
        raise DataFileError(
            str(path), f'it is damaged: the content of {damaged} has changed'
        )


def read_checkpoint(path: str | Path) -> dict[str, Any]:
    """Read a checkpoint that a run can go on from.

    Args:
        path: A file, or what else mmengine loads.

    Returns:
        Its content, on the CPU; of a folder nothing.

    Raises:
        DataFileError: It is damaged, can't be read, or is no state of a run.
    """
    check_whole(path)
    if Path(path).is_dir():
        return {}
    try:
        found = _load_checkpoint(str(path), 'cpu', logger='silent')
    except Exception as error:  # torch and pickle raise many kinds.
        raise _unreadable(path, error) from error
    meta = found.get('meta') if isinstance(found, Mapping) else None
    if not isinstance(meta, Mapping) or not {'epoch', 'iter'} <= set(meta):
        raise DataFileError(
            str(path),
            'it does not say after how many steps it was written (meta.epoch '
            'and meta.iter), so that no run can go on from it',
        )
    return dict(found)


def latest_checkpoint(
    work_dir: str | Path, checkpoint_hook: Mapping | None = None
) -> str | None:
    """The checkpoint of a run's folder to go on from: of those that are whole
    the one after the most iterations.

    Neither the files' times nor the note ``last_checkpoint`` decide. A
    checkpoint that cannot be read is passed over with a warning.

    Args:
        work_dir: Of the run.
        checkpoint_hook: Its ``default_hooks.checkpoint``, which may have an
            ``out_dir`` and a ``filename_tmpl`` of its own.

    Returns:
        The file, or None if there is none yet.

    Raises:
        DataFileError: There are checkpoints, and none of them can be read.
    """
    hook = checkpoint_hook or {}
    folder = _folder(Path(work_dir), hook.get('out_dir'))
    templates = dict.fromkeys((hook.get('filename_tmpl'), *TEMPLATES))
    best: tuple[int, Path] | None = None
    problems: list[DataFileError] = []
    for template in filter(None, templates):
        for number, path in _numbered(folder, template):
            try:
                iteration = _iteration(path, number, work_dir)
            except DataFileError as error:
                problems.append(error)
                continue
            if best is None or iteration > best[0]:
                best = iteration, path
            break
    if best is None and problems:
        listed = '; '.join(map(str, problems))
        raise DataFileError(
            str(folder),
            f'none of its checkpoints can be read: {listed}. Repair one, or '
            'move them away to begin anew',
        )
    if best is None:
        return None
    for problem in problems:
        print_log(
            f'{problem}. The run goes on from {best[1]}',
            level=logging.WARNING,
        )
    return str(best[1])


def settle_resume(cfg: Any) -> None:
    """Decide from which checkpoint a run goes on, and check that it is whole.

    mmengine would decide it by the note ``last_checkpoint``, and does not look
    at the content of files.

    Args:
        cfg: The config of a run, changed in place: with ``resume='auto'``, or
            ``resume`` and no ``load_from``, the latest checkpoint of the run's
            folder becomes ``load_from``. Where there is none, ``resume``
            becomes False, and the run begins as its config says, with the
            weights of ``load_from`` if it has one. A resumed run without a
            seed of its own takes the checkpoint's.

    Raises:
        DataFileError: The checkpoint, or all of the folder, can't be read.
    """
    source = cfg.get('load_from')
    if cfg.get('resume') == 'auto' or (cfg.get('resume') and not source):
        hook = (cfg.get('default_hooks') or {}).get('checkpoint')
        latest = latest_checkpoint(cfg['work_dir'], hook)
        cfg['resume'] = latest is not None
        cfg['load_from'] = latest or source
    elif cfg.get('resume') and '://' not in source:
        read_checkpoint(source)
    if not cfg.get('resume'):
        if source and os.path.exists(source):
            check_whole(source)
        return
    randomness = dict(cfg.get('randomness') or {})
    if randomness.get('seed') is None:
        found = read_checkpoint(cfg['load_from']).get('meta', {})
        cfg['randomness'] = dict(randomness, seed=found.get('seed'))


def _folder(work_dir: Path, out_dir: str | None) -> Path:
    """Where a run writes its checkpoints, as mmengine's hook has it."""
    if out_dir is None or Path(out_dir) == work_dir:
        return work_dir
    return Path(out_dir, work_dir.name)


def _numbered(folder: Path, template: str) -> Iterator[tuple[int, Path]]:
    """The checkpoints of a folder and their numbers, the highest first."""
    start, _, end = template.partition('{}')
    name = re.compile(re.escape(start) + r'(\d+)' + re.escape(end))
    if not folder.is_dir():
        return
    matches = ((name.fullmatch(path.name), path) for path in folder.iterdir())
    found = ((int(match[1]), path) for match, path in matches if match)
    yield from sorted(found, reverse=True)


def _iteration(path: Path, number: int, work_dir: str | Path) -> int:
    """After how many iterations a checkpoint was written; of a folder the
    number in its name, for it is spread over files.

    Raises:
        DataFileError: It can't be read, or is not what its name says.
    """
    if path.is_dir() and not _was_finished(path, number, Path(work_dir)):
        raise DataFileError(
            str(path), 'the run was killed before it was complete'
        )
    content = read_checkpoint(path)
    if not content:
        return number
    meta = content['meta']
    if number not in (meta['epoch'], meta['iter']):
        raise DataFileError(
            str(path),
            f'its content is of epoch {meta["epoch"]}, iteration '
            f'{meta["iter"]}, which is not what its name says',
        )
    return meta['iter']


def _was_finished(path: Path, number: int, work_dir: Path) -> bool:
    """Whether a folder of shards is complete: the note ``last_checkpoint``,
    which is written last, names it or a later one.
    """
    note = work_dir / 'last_checkpoint'
    text = note.read_text().strip() if note.is_file() else ''
    numbers = re.findall(r'\d+', Path(text).name)
    return bool(numbers) and number <= int(numbers[-1])


def _unreadable(path: str | Path, error: Exception) -> DataFileError:
    kind, text = type(error).__name__, ' '.join(str(error).split())
    return DataFileError(
        str(path), f'it can not be read ({kind}: {text[:200]})'
    )

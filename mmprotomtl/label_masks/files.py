"""Read published mask files, and read and write our own manifest.

Published mask files are pickles from untrusted sources, so they are never
unpickled without restrictions, see :mod:`.pickles`.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmprotomtl.utils.errors import DataFileError
from mmprotomtl.utils.files import read_bytes, write_json

from .mask import LabelMask
from .pickles import load_numpy, load_torch
from .protocols import PROTOCOLS

#: Order of the five numbers per image in PASCAL-Context's ``new_*.pth``.
PASCAL_COLUMNS = ('semseg', 'human_parts', 'sal', 'normals', 'edge')
#: Number of columns -> their tasks, in the published tables for the MTAN
#: versions of Cityscapes (2) and NYUv2 (3).
TABLE_COLUMNS = {2: ('semseg', 'depth'), 3: ('semseg', 'depth', 'normals')}
#: Format identifier in our manifest.
FORMAT = 'mmprotomtl label mask 1'

#: Largest mask file that is read; that of a million images has 20 million.
MAX_BYTES = 2**27

Rows = dict[str, list[str]]


def _load(path: str) -> Any:
    """Load the content of a mask file of any format.

    Raises:
        DataFileError: The file is missing, damaged or of an unknown format.
    """
    try:
        content = read_bytes(path, MAX_BYTES)
    except FileNotFoundError:
        raise DataFileError(
            path,
            'no such label mask file. Get the published mask (from the code '
            'release of MTPSL or DiffusionMTL, one per data set) and put it '
            'there, or draw one: by partial_labels="one-label" (protocols '
            f'are {", ".join(PROTOCOLS)}), or by tools/label_masks.py '
            'generate',
        ) from None
    except OSError as error:
        raise DataFileError(
            path, f'cannot be read: {error.strerror}'
        ) from None
    try:
        if content[:1] == b'{':
            return json.loads(content)
        if content.startswith(b'\x93NUMPY'):
            return load_numpy(content)
        return load_torch(content)
    except Exception as error:
        raise DataFileError(
            path,
            'not a label mask: expected a manifest of tools/label_masks.py, '
            'a torch file with "labels_weights" or id -> labels, or a numpy '
            f'file with task -> ids ({type(error).__name__}: {error})',
        ) from error


def read_mask_file(
    path: str,
    samples: Sequence[str] | None = None,
    columns: Sequence[str] | None = None,
) -> LabelMask:
    """Read a mask file of any supported format.

    The formats are:

    * a manifest, see :func:`write_label_mask`;
    * a torch file with ``labels_weights``, ``images x tasks``: an entry above
      0 means labelled (MTAN versions of NYUv2 and Cityscapes);
    * a torch file with id -> five numbers 0 or 1, in the order of
      :data:`PASCAL_COLUMNS`;
    * a numpy file with task -> list of ids.

    Args:
        path: The file.
        samples: Image ids in the order of the rows, for formats without ids;
            None: the numbers of the rows.
        columns: Task names in the order of the columns, for formats without
            names; None: those of :data:`TABLE_COLUMNS`, or the numbers of the
            columns.

    Raises:
        DataFileError: The file is damaged, or its size does not fit
            ``samples`` and ``columns``.
    """
    loaded = _load(path)
    try:
        if not isinstance(loaded, dict):
            raise ValueError(f'holds a {type(loaded).__name__}')
        if loaded.get('format') == FORMAT:
            return _of_manifest(loaded, path)
        if 'labels_weights' in loaded:
            table = torch.as_tensor(loaded['labels_weights']).float().numpy()
            return _of_table(table, samples, columns, path)
        if not loaded:
            raise ValueError('is empty')
        tasks: tuple[str, ...] = PASCAL_COLUMNS
        if all(_is_list_of_ids(value) for value in loaded.values()):
            rows, tasks = _of_lists(loaded, samples), tuple(map(str, loaded))
        else:
            rows = _of_numbers(loaded)
    except DataFileError:
        raise
    except Exception as error:
        raise DataFileError(
            path, f'not a label mask ({type(error).__name__}: {error})'
        ) from error
    return LabelMask(rows, tasks, 'file', source=path)


def _of_table(
    table: np.ndarray,
    samples: Sequence[str] | None,
    columns: Sequence[str] | None,
    path: str,
) -> LabelMask:
    if table.ndim != 2 or not np.isfinite(table).all():
        raise ValueError(f'labels_weights is {table.shape}, or has NaN')
    samples = list(map(str, range(len(table)))) if samples is None else samples
    if columns is None:
        columns = TABLE_COLUMNS.get(
            table.shape[1], tuple(map(str, range(table.shape[1])))
        )
    if table.shape != (len(samples), len(columns)):
        raise DataFileError(
            path,
            f'a mask of another data set: its table is {table.shape}, this '
            f'data set has {len(samples)} images and the {len(columns)} tasks '
            f'{", ".join(columns)}',
        )
    rows = {
        sample: [task for task, on in zip(columns, row, strict=True) if on > 0]
        for sample, row in zip(samples, table, strict=True)
    }
    return LabelMask(rows, columns, 'file', source=path)


def _of_numbers(loaded: Mapping[str, Any]) -> Rows:
    """Read the rows of the format with id -> five numbers."""
    rows = {}
    for sample, numbers in loaded.items():
        flags = np.asarray(numbers)
        if not isinstance(sample, str) or flags.shape != (5,):
            raise ValueError(f'{sample!r:.60} has not 5 numbers')
        if not np.isin(flags, (0, 1)).all():
            raise ValueError(f'{sample!r:.60} has {numbers!r:.60}, not 0 or 1')
        rows[sample] = [
            task for task, on in zip(PASCAL_COLUMNS, flags, strict=True) if on
        ]
    return rows


def _is_list_of_ids(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(
        isinstance(item, str) for item in value
    )


def _of_lists(
    loaded: Mapping[str, Any], samples: Sequence[str] | None
) -> Rows:
    """Read the rows of the format with task -> ids.

    An image in no list has no label.
    """
    rows: Rows = {sample: [] for sample in samples or ()}
    for task, ids in loaded.items():
        if not isinstance(task, str):
            raise ValueError(f'{task!r} is not a task')
        for sample in ids:
            row = rows.setdefault(sample, [])
            if task in row:
                raise ValueError(f'{task} lists {sample!r} twice')
            row.append(task)
    return rows


def _of_manifest(loaded: dict[str, Any], path: str) -> LabelMask:
    rows = loaded['labelled']
    for sample, row in rows.items():
        unknown = set(row) - set(loaded['tasks'])
        if unknown:
            raise ValueError(f'{sample!r} has labels of {sorted(unknown)}')
    mask = LabelMask(
        rows,
        loaded['tasks'],
        loaded['protocol'],
        loaded['seed'],
        path,
        loaded.get('options'),
        loaded.get('parts', ()),
    )
    if mask.sha256 != loaded['sha256']:
        raise DataFileError(
            path,
            f'changed after it was written: the recorded SHA-256 is '
            f'{loaded["sha256"]}, but that of its labels is {mask.sha256}',
        )
    if loaded['manifest_sha256'] != _digest(loaded):
        raise DataFileError(
            path,
            'changed after it was written: not its labels, but the data '
            'about them (protocol, seed, options, tasks or counts)',
        )
    return mask


def _digest(manifest: dict[str, Any]) -> str:
    """Return the SHA-256 of all fields of a manifest."""
    said = {k: v for k, v in manifest.items() if k != 'manifest_sha256'}
    text = json.dumps(said, sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def write_label_mask(path: str | Path, mask: LabelMask) -> None:
    """Write a manifest (JSON) with protocol, seed, counts, hash and labels."""
    manifest = dict(format=FORMAT, **mask.summary(), tasks=mask.tasks)
    manifest['labelled'] = mask.labelled
    # The hash covers all fields, because a changed seed would also be a false
    # statement about where the mask comes from.
    manifest['manifest_sha256'] = _digest(manifest)
    write_json(path, manifest)


def read_label_mask(
    path: str, samples: Sequence[str], columns: Sequence[str]
) -> LabelMask:
    """Read a mask file and check that it belongs to a data set.

    Args:
        path: See :func:`read_mask_file`.
        samples: Ids of the data set's images, in order.
        columns: Names of the data set's tasks, in order.

    Raises:
        DataFileError: The file is damaged or belongs to another data set; the
            message says what does not fit.
    """
    mask = read_mask_file(path, samples, columns)
    unknown = [task for task in mask.tasks if task not in columns]
    if unknown:
        raise DataFileError(
            path,
            f'a mask of another data set: it has the tasks '
            f'{", ".join(unknown)}, this data set has {", ".join(columns)}',
        )
    known = set(samples)
    foreign = [sample for sample in mask.labelled if sample not in known]
    missing = [sample for sample in samples if sample not in mask.labelled]
    for ids, what in (
        (foreign, 'are in the mask, but not in the data set'),
        (missing, 'are in the data set, but not in the mask'),
    ):
        if ids:
            raise DataFileError(
                path,
                f'a mask of another data set: {len(ids)} images {what}, such '
                f'as {", ".join(ids[:3])}; the mask has '
                f'{len(mask.labelled)} images, the data set {len(samples)}',
            )
    return mask

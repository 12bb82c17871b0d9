"""Mask files: those that were published, and our own manifest.

The published ones are pickles from strangers. None is unpickled freely: torch
loads tensors and plain containers only, and the unpickler of numpy's object
files knows the few names that a dict of strings needs.
"""

import io
import json
import pickle
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mmprotomtl.utils.errors import DataFileError
from mmprotomtl.utils.files import write_json

from .mask import LabelMask

#: Order of the five numbers in PASCAL-Context's ``new_*.pth``.
PASCAL_COLUMNS = ('semseg', 'human_parts', 'sal', 'normals', 'edge')
#: Tasks of the published tables, by the number of their columns: the MTAN
#: forms of Cityscapes and NYUv2.
TABLE_COLUMNS = {2: ('semseg', 'depth'), 3: ('semseg', 'depth', 'normals')}
#: What our manifest says that it is.
FORMAT = 'mmprotomtl label mask 1'

Rows = dict[str, list[str]]


class _NumpyUnpickler(pickle.Unpickler):
    """Knows numpy's arrays, numbers and strings, and nothing else."""

    ALLOWED = frozenset(
        (module, name)
        for package in ('numpy.core', 'numpy._core')
        for module, name in (
            (f'{package}.multiarray', '_reconstruct'),
            (f'{package}.multiarray', 'scalar'),
            ('numpy', 'ndarray'),
            ('numpy', 'dtype'),
            ('_codecs', 'encode'),
        )
    )

    def find_class(self, module: str, name: str) -> Any:
        """A class or function by name, if it is harmless."""
        if (module, name) not in self.ALLOWED:
            raise pickle.UnpicklingError(f'{module}.{name} is not allowed')
        return super().find_class(module, name)


def _load_numpy(content: bytes) -> Any:
    """The object in an ``.npy`` file that holds a single one."""
    file = io.BytesIO(content)
    version = np.lib.format.read_magic(file)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, _, dtype = read(file)
    if shape != () or dtype.kind != 'O':
        raise ValueError(f'holds {dtype} {shape}, not one dict')
    loaded = _NumpyUnpickler(file, encoding='latin1').load()
    return loaded.item() if isinstance(loaded, np.ndarray) else loaded


def _load_torch(content: bytes) -> Any:
    """The object in a torch file, tensors or numpy's numbers in it."""
    try:
        return torch.load(io.BytesIO(content), 'cpu', weights_only=True)
    except pickle.UnpicklingError:
        # PASCAL's masks hold numpy numbers, which torch does not trust.
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            (name,) = (n for n in archive.namelist() if n.endswith('data.pkl'))
            return _NumpyUnpickler(io.BytesIO(archive.read(name))).load()


def _load(path: str) -> Any:
    """What a mask file holds, of whatever format.

    Raises:
        DataFileError: It is missing, damaged, or none of the known formats.
    """
    try:
        content = Path(path).read_bytes()
    except FileNotFoundError:
        raise DataFileError(
            path,
            'no such label mask. Get the published one '
            "(of MTPSL's or DiffusionMTL's code release, one per data set) "
            'and put it there, or draw one: partial_labels=dict(protocol='
            '"one-label", seed=0), or tools/label_masks.py generate',
        ) from None
    except OSError as error:
        raise DataFileError(
            path, f'cannot be read: {error.strerror}'
        ) from None
    try:
        if content[:1] == b'{':
            return json.loads(content)
        if content.startswith(b'\x93NUMPY'):
            return _load_numpy(content)
        return _load_torch(content)
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
    """Read a mask file of any format.

    * a manifest (:func:`write_label_mask`);
    * torch, ``labels_weights``: ``images x tasks``, above 0 is a label (MTAN
      forms of NYUv2 and Cityscapes);
    * torch, id -> five numbers, order :data:`PASCAL_COLUMNS`;
    * numpy, task -> list of ids.

    Args:
        path: The file.
        samples: Ids of the images, for files that do not name them, in the
            order of the rows; None: their numbers.
        columns: Names of the tasks, for files that do not name them; None:
            those of :data:`TABLE_COLUMNS`, or their numbers.

    Raises:
        DataFileError: It is damaged, or not of the size given.
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
        first = next(iter(loaded.values()))
        if isinstance(first, (list, tuple, np.ndarray)) and not (
            len(first) and isinstance(first[0], str)
        ):
            rows = _of_numbers(loaded)
            tasks: tuple[str, ...] = PASCAL_COLUMNS
        else:
            rows, tasks = _of_lists(loaded, samples), tuple(map(str, loaded))
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
            f'one has {len(samples)} images and the {len(columns)} tasks '
            f'{", ".join(columns)}',
        )
    rows = {
        sample: [task for task, on in zip(columns, row, strict=True) if on > 0]
        for sample, row in zip(samples, table, strict=True)
    }
    return LabelMask(rows, columns, 'file', source=path)


def _of_numbers(loaded: Mapping) -> Rows:
    """Id -> five numbers."""
    rows = {}
    for sample, numbers in loaded.items():
        flags = np.asarray(numbers)
        if not isinstance(sample, str) or flags.shape != (5,):
            raise ValueError(f'{sample!r} has {numbers!r}, not 5 numbers')
        if not np.isin(flags, (0, 1)).all():
            raise ValueError(f'{sample!r} has {numbers!r}, not 0 or 1')
        rows[sample] = [
            task for task, on in zip(PASCAL_COLUMNS, flags, strict=True) if on
        ]
    return rows


def _of_lists(loaded: Mapping, samples: Sequence[str] | None) -> Rows:
    """Task -> ids; an image in no list has no label."""
    rows: Rows = {sample: [] for sample in samples or ()}
    for task, ids in loaded.items():
        if not isinstance(task, str) or isinstance(ids, str):
            raise ValueError(f'{task!r} is not a task with a list of ids')
        for sample in ids:
            if not isinstance(sample, str):
                raise ValueError(f'{task} lists {sample!r}, not an id')
            row = rows.setdefault(str(sample), [])
            if task in row:
                raise ValueError(f'{task} lists {sample!r} twice')
            row.append(task)
    return rows


def _of_manifest(loaded: dict, path: str) -> LabelMask:
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
    )
    if mask.sha256 != loaded['sha256']:
        raise DataFileError(
            path,
            f'changed after it was written: it says SHA-256 '
            f'{loaded["sha256"]}, but its labels have {mask.sha256}',
        )
    return mask


def write_label_mask(path: str | Path, mask: LabelMask) -> None:
    """Write a manifest: protocol, seed, counts, hash and every label."""
    manifest = dict(format=FORMAT, **mask.summary(), tasks=mask.tasks)
    manifest['labelled'] = mask.labelled
    write_json(path, manifest)


def read_label_mask(
    path: str, samples: Sequence[str], columns: Sequence[str]
) -> LabelMask:
    """Read a mask file and check that it is one of this data set.

    Args:
        path: See :func:`read_mask_file`.
        samples: Ids of the data set's images, in their order.
        columns: Names of its tasks, in their order.

    Raises:
        DataFileError: It is damaged or of another data set; names what does
            not fit.
    """
    mask = read_mask_file(path, samples, columns)
    unknown = [task for task in mask.tasks if task not in columns]
    if unknown:
        raise DataFileError(
            path,
            f'a mask of another data set: it speaks of {", ".join(unknown)}, '
            f'this one has the tasks {", ".join(columns)}',
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

"""Load checkpoints without running anything that is stored in them.

mmengine loads a checkpoint by ``torch.load``, and where that refuses to call a
function that the file names, loads it once more and calls it. Importing
mmprotomtl therefore replaces mmengine's loaders, so that ``Runner``,
``init_cfg``, ``CheckpointHook`` and the inferencer all read by
:mod:`.torch_files`. A file that needs more is refused, unless the user says
that it can be trusted (:func:`trust`).
"""

import io
import stat
from collections import OrderedDict
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urlparse

import torch
from mmengine.dist import get_dist_info
from mmengine.fileio import get_file_backend
from mmengine.runner import CheckpointLoader
from mmengine.runner import checkpoint as mmengine_checkpoint

from mmprotomtl.utils.errors import DataFileError

from .packages import find_in_package
from .torch_files import MapLocation, read_torch
from .unpickling import ForbiddenName

#: Checkpoints of which the user has said that they can be trusted.
_TRUSTED: set[str] = set()
#: Scheme -> mmengine's table from a model's name to its URL.
_MODEL_TABLES = {
    'torchvision': 'get_torchvision_models',
    'modelzoo': 'get_torchvision_models',
    'open-mmlab': 'get_external_models',
    'openmmlab': 'get_external_models',
    'mmcls': 'get_mmcls_models',
}
#: Help of the option of our tools.
TRUST = (
    'let the checkpoint run code when it is loaded; only for a file that you '
    'know the author of'
)


def trust(filename: str | Path) -> None:
    """Let a checkpoint run code when it is loaded in this process.

    Args:
        filename: The checkpoint, exactly as it will be loaded; or a folder,
            for all checkpoints in it.
    """
    _TRUSTED.add(str(filename))


def _is_trusted(filename: str) -> bool:
    places = (filename, *Path(filename).parents)
    return any(str(place) in _TRUSTED for place in places)


def load_checkpoint(filename: str, map_location: MapLocation = 'cpu') -> Any:
    """Load a checkpoint; nothing in it is executed.

    Args:
        filename: A file, ``http(s)://``, ``pip://PACKAGE/FILE`` for a file of
            an installed package, or a name of mmengine's (``torchvision://``,
            ``open-mmlab://``, ``mmcls://``, ``s3://``).
        map_location: See :func:`torch.load`; None: the CPU.

    Raises:
        DataFileError: The file is damaged, or names functions that loading
            would call; the message says which.
        FileNotFoundError: There is no such file.
    """
    scheme, _, name = str(filename).partition('://')
    if name and scheme.split(':')[-1] in ('s3', 'petrel'):
        backend = get_file_backend(
            filename, backend_args={'backend': 'petrel'}
        )
        content = backend.get(filename)
        return _read(io.BytesIO(content), len(content), filename, map_location)
    if not name:
        return _read_path(Path(filename).expanduser(), filename, map_location)
    if scheme in ('http', 'https'):
        return _read_path(_download(filename), filename, map_location)
    if scheme == 'pip':
        return _read_path(find_in_package(filename), filename, map_location)
    if scheme not in _MODEL_TABLES:
        raise DataFileError(
            filename, 'download it, and give the name of the file'
        )
    url = _url(scheme, name, filename)
    if _is_trusted(filename):
        trust(url)
    loaded = load_checkpoint(url, map_location)
    return _backbone(loaded) if scheme == 'mmcls' else loaded


def _url(scheme: str, name: str, filename: str) -> str:
    """Return the URL, or file, of a model's name."""
    if 'mmlab' in scheme:
        old = mmengine_checkpoint.get_deprecated_model_names()
        name = old.get(name, name)
    known = getattr(mmengine_checkpoint, _MODEL_TABLES[scheme])()
    if name not in known:
        raise DataFileError(filename, f'mmengine knows no {scheme} model so')
    url = str(known[name])
    if url.startswith(('http://', 'https://')):
        return url
    return str(Path(mmengine_checkpoint._get_mmengine_home(), url))


def _backbone(loaded: Any) -> dict[str, Any]:
    """Return the backbone of a classifier of mmcls, without its prefix."""
    weights = loaded.get('state_dict', loaded)
    return dict(
        state_dict=OrderedDict(
            (key.removeprefix('backbone.'), value)
            for key, value in weights.items()
            if key.startswith('backbone.')
        )
    )


def _download(url: str) -> Path:
    """Download a file to torch's cache; once, by the first local process."""
    folder = Path(torch.hub.get_dir(), 'checkpoints')
    path = folder / Path(urlparse(url).path).name
    rank, processes = get_dist_info()
    if rank == 0 and not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(url, str(path), progress=False)
    if processes > 1:
        torch.distributed.barrier()
        # On another machine, the first process has a cache of its own.
        if not path.exists():
            torch.hub.download_url_to_file(url, str(path), progress=False)
    return path


def _read_path(path: Path, filename: str, map_location: MapLocation) -> Any:
    if not path.exists():
        raise FileNotFoundError(f'{filename} can not be found.')
    state = path.stat()
    if not stat.S_ISREG(state.st_mode):
        raise DataFileError(filename, 'not a regular file')
    with path.open('rb') as file:
        return _read(file, state.st_size, filename, map_location)


def _read(
    file: BinaryIO, size: int, filename: str, map_location: MapLocation
) -> Any:
    if _is_trusted(filename):
        return torch.load(file, map_location, weights_only=False)
    try:
        return read_torch(file, size, map_location)
    except ForbiddenName as error:
        raise DataFileError(
            str(filename),
            f'holds {error.name}: only tensors, numbers, strings and '
            'containers of them are loaded, because anything else can run '
            'code. If you know who wrote the file: --trust-checkpoint of our '
            'tools, trust_checkpoint=True of MultiTaskInferencer and of '
            'init_cfg',
        ) from None
    except MemoryError:
        raise
    except Exception as error:
        raise DataFileError(
            str(filename),
            f'not a whole checkpoint ({type(error).__name__}: {error})',
        ) from error


def load_from_file(filename: str, map_location: MapLocation = None) -> Any:
    """The loader that mmengine calls, see :func:`load_checkpoint`."""
    return load_checkpoint(filename, map_location)


def install() -> None:
    """Replace all loaders that mmengine knows, and add ``pip://``."""
    for scheme in [*CheckpointLoader._schemes, 'pip://']:
        CheckpointLoader.register_scheme(scheme, load_from_file, force=True)


def trust_if_told(cfg: Any) -> Any:
    """Take ``trust_checkpoint`` out of an ``init_cfg``, and act on it.

    Args:
        cfg: The ``init_cfg`` of a module: a dict, a list of them, or None.

    Returns:
        The same without that setting, as mmengine accepts it.
    """
    if isinstance(cfg, (list, tuple)):
        return [trust_if_told(one) for one in cfg]
    if not isinstance(cfg, Mapping) or 'trust_checkpoint' not in cfg:
        return cfg
    kept = {k: v for k, v in cfg.items() if k != 'trust_checkpoint'}
    if cfg['trust_checkpoint'] and 'checkpoint' in kept:
        trust(kept['checkpoint'])
    return kept

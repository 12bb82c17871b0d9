"""Make a checkpoint fit to be published.

python tools/misc/publish_model.py CKPT OUT

Keeps the weights (of the moving average, if there is one) and, of the meta
information, what says how they came about; drops optimizer, schedulers, loop
state, and the mean teacher of a run with consistency_weight. The file is named
after its hash, OUT-<8 digits>.pth, and loads with
``torch.load(..., weights_only=True)``: it holds tensors and plain values
alone.
"""

import argparse
import hashlib
import io
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

import mmprotomtl
from mmprotomtl.loading.checkpoint_files import TRUST, load_checkpoint, trust
from mmprotomtl.models.checkpoint_fit import weights_of
from mmprotomtl.models.consistency import TEACHER
from mmprotomtl.utils.errors import DataFileError
from mmprotomtl.utils.files import write_bytes

#: Of the meta information, what a user of the weights wants to know.
META = (
    'epoch', 'iter', 'seed', 'dataset_meta', 'mmengine_version', 'cfg', 'run',
)  # fmt: skip


def plain(value: Any) -> Any:
    """A copy of plain Python values; what is none becomes its text."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if hasattr(value, 'tolist'):
        return plain(value.tolist())
    return str(value)


def publish(checkpoint: str, out: str) -> Path:
    """Write the file and return it.

    Args:
        checkpoint: A checkpoint of ``tools/train.py``.
        out: Name of the file to write, with or without ``.pth``.

    Raises:
        SystemExit: The checkpoint cannot be read or holds no weights.
    """
    try:
        state = load_checkpoint(checkpoint)
        # Of a run with a moving average, mmengine stores that here, and the
        # trained weights beside it.
        weights = weights_of(dict(state_dict=state['state_dict']))
    except DataFileError as error:
        raise SystemExit(str(error)) from error
    except Exception as error:
        raise SystemExit(
            f'{checkpoint}: not a checkpoint of tools/train.py '
            f'({type(error).__name__}: {error})'
        ) from error
    weights = OrderedDict(
        (key, value.contiguous().clone())
        for key, value in weights.items()
        if not key.startswith(TEACHER)
    )
    meta = {key: plain(state['meta'][key]) for key in META
            if key in state.get('meta', {})}  # fmt: skip
    meta['mmprotomtl'] = mmprotomtl.__version__
    buffer = io.BytesIO()
    torch.save(dict(meta=meta, state_dict=weights), buffer)
    content = buffer.getvalue()
    digest = hashlib.sha256(content).hexdigest()[:8]
    path = Path(f'{out.removesuffix(".pth")}-{digest}.pth')
    write_bytes(path, content)
    return path


def main() -> None:
    """Publish."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('checkpoint', help='the checkpoint')
    parser.add_argument('out', help='name of the file to write')
    parser.add_argument('--trust-checkpoint', action='store_true', help=TRUST)
    args = parser.parse_args()
    if args.trust_checkpoint:
        trust(args.checkpoint)
    path = publish(args.checkpoint, args.out)
    print(f'{path} ({path.stat().st_size / 1e6:.1f} MB)')


if __name__ == '__main__':
    main()

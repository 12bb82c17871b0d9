"""Count parameters and floating-point operations of a model, part by part.

python tools/analysis_tools/get_flops.py CONFIG [--shape H W] [--json FILE]
    [--backbone configs/_base_/backbones/FILE.py]

Counted are the products of convolutions and matrices in a forward pass of one
image through all tasks, attention and codebook search included; a multiply
and an add are two operations. What only training runs (the reconstruction of
the image) has parameters but no operations here. The head asks the neck's
memory, so the operations of neck.memory are in the sum of the head.
"""

import argparse
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from mmengine.config import Config, DictAction
from mmengine.logging import MMLogger
from prettytable import PrettyTable
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from mmprotomtl.engine import load_config
from mmprotomtl.registry import MODELS
from mmprotomtl.utils.files import write_json


def parse_args() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('config', help='the config file')
    parser.add_argument(
        '--shape',
        type=int,
        nargs=2,
        default=(256, 256),
        metavar=('H', 'W'),
        help='size of the image',
    )
    parser.add_argument(
        '--backbone',
        help="file with another backbone than the config's, of "
        'configs/_base_/backbones',
    )
    parser.add_argument('--json', help='file for the counts')
    parser.add_argument(
        '--cfg-options',
        nargs='+',
        action=DictAction,
        help='settings that replace those of the config',
    )
    return parser.parse_args()


def parts(model: nn.Module) -> Iterator[tuple[str, nn.Module]]:
    """The parts of a model that the table shows: two levels of the neck and
    the head, the backbone as a whole.
    """
    for name, part in model.named_children():
        if name in ('neck', 'head'):
            yield name, part
            for inner, module in part.named_children():
                yield f'{name}.{inner}', module
        else:
            yield name, part


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Attention by products of matrices, which are counted on every device,
    unlike torch's fused kernels.
    """
    known: tuple[tuple[Any, str, str], ...] = (
        (torch.backends.cuda, 'flash_sdp_enabled', 'enable_flash_sdp'),
        (torch.backends.cuda, 'mem_efficient_sdp_enabled',
         'enable_mem_efficient_sdp'),
        (torch.backends.cuda, 'cudnn_sdp_enabled', 'enable_cudnn_sdp'),
        # Of nn.MultiheadAttention, in evaluation.
        (getattr(torch.backends, 'mha', None), 'get_fastpath_enabled',
         'set_fastpath_enabled'),
    )  # fmt: skip
    # Older versions of torch lack the last two, and have no such kernels.
    flags = [flag for flag in known if hasattr(flag[0], flag[1])]
    before = [getattr(home, get)() for home, get, _ in flags]
    for home, _, switch in flags:
        getattr(home, switch)(False)
    try:
        yield
    finally:
        for (home, _, switch), value in zip(flags, before, strict=True):
            getattr(home, switch)(value)


def count(
    model: nn.Module, shape: tuple[int, int]
) -> dict[str, dict[str, Any]]:
    """Parameters and operations of each part; ``total`` comes last.

    Args:
        model: A segmentor.
        shape: Height and width of the image.
    """
    model.eval()
    with (
        _plain_attention(),
        torch.no_grad(),
        FlopCounterMode(display=False) as counter,
    ):
        model(torch.zeros(1, 3, *shape), mode='tensor')
    root = type(model).__name__
    flops = {
        name: sum(kinds.values())
        for name, kinds in counter.get_flop_counts().items()
    }
    rows = {
        name: dict(
            parameters=sum(p.numel() for p in part.parameters()),
            flops=flops.get(f'{root}.{name}', 0)
            # A list of modules is not called itself.
            or sum(flops.get(f'{root}.{name}.{i}', 0) for i in range(99)),
        )
        for name, part in parts(model)
    }
    rows['total'] = dict(
        parameters=sum(p.numel() for p in model.parameters()),
        flops=counter.get_total_flops(),
    )
    return rows


def main() -> None:
    """Count."""
    args = parse_args()
    cfg = load_config(args.config, args.cfg_options)
    if args.backbone is not None:
        cfg.model.backbone = Config.fromfile(args.backbone).backbone
    MMLogger.get_current_instance().setLevel(logging.WARNING)
    rows = count(MODELS.build(cfg.model), tuple(args.shape))
    table = PrettyTable(['part', 'parameters (M)', 'GFLOPs'], align='r')
    table.align['part'] = 'l'
    for name, row in rows.items():
        if row['parameters'] or row['flops']:
            indent = '  ' * name.count('.')
            numbers = (row['parameters'] / 1e6, row['flops'] / 1e9)
            table.add_row([indent + name, *(f'{n:.3f}' for n in numbers)])
    print(table)
    height, width = args.shape
    print(f'one image of {height}x{width}, a multiply and an add are two')
    if args.json:
        write_json(args.json, dict(shape=args.shape, parts=rows))


if __name__ == '__main__':
    main()

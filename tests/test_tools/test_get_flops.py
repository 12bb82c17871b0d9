"""The counts of the tool against a count by hand."""

import json
import runpy

import pytest
import torch
from mmengine.config import Config
from mmpretrain.models.utils import WindowMSA
from mmpretrain.models.utils.attention import MultiheadAttention
from torch import nn

from mmprotomtl.models.layers import VectorQuantizer
from mmprotomtl.models.layers.retrieval_block import Attention
from mmprotomtl.testing import tiny_model
from tests.conftest import ROOT

TOOL = ROOT / 'tools/analysis_tools/get_flops.py'


def by_hand(model, size):
    """2 x multiply-adds, from the shapes that pass through each module."""
    total = []

    def convolution(module, inputs, output):
        taps = module.weight[0].numel()
        total.append(2 * output.numel() * taps)

    def linear(module, inputs, output):
        total.append(2 * output.numel() * module.in_features)

    def attention(module, inputs, output):
        x, memory = inputs
        images, queries, dims = x.shape
        # queries x keys, and weights x values, over all heads.
        total.append(2 * 2 * images * queries * memory.shape[1] * dims)

    def codebook(module, inputs, output):
        positions = output.indices.numel()
        total.append(2 * positions * module.num_codes * module.code_dim)

    def neck(module, inputs, output):
        tasks, images, length, slots = output.extras['logits'].shape
        width = module.prototypes.shape[1]
        # Cosines with the prototypes, and A V.
        total.append(2 * 2 * tasks * images * length * width * slots)

    def tokens(module, inputs, output):
        # Of mmpretrain: L tokens, or those of a window, with one another.
        images, length, dims = inputs[0].shape
        total.append(2 * 2 * images * length**2 * dims)

    def pairs(module, inputs, kwargs, output):
        # Of torch: it has its linear maps inside.
        query, key = kwargs['query'], kwargs['key']
        batch = query.shape[int(not module.batch_first)]
        own, other = query.numel(), key.numel()
        dims = module.embed_dim
        total.append(2 * dims * (2 * own + 2 * other))
        total.append(2 * 2 * (own // dims) * (other // dims // batch) * dims)

    kinds = {nn.Conv2d: convolution, nn.Linear: linear, Attention: attention,
             VectorQuantizer: codebook, MultiheadAttention: tokens,
             WindowMSA: tokens}  # fmt: skip
    for module in model.modules():
        for kind, hook in kinds.items():
            if isinstance(module, kind):
                module.register_forward_hook(hook)
        if type(module) is nn.MultiheadAttention:
            module.register_forward_hook(pairs, with_kwargs=True)
    model.neck.register_forward_hook(neck)
    with torch.no_grad():
        model.eval()(torch.zeros(1, 3, *size), mode='tensor')
    return sum(total)


def test_against_a_count_by_hand(tool, tiny_config, tmp_path):
    out = tmp_path / 'flops.json'
    done = tool(TOOL, tiny_config, '--shape', 64, 96, '--json', out)
    parts = json.loads(out.read_text())['parts']
    model = tiny_model()
    assert parts['total']['flops'] == by_hand(model, (64, 96))
    weights = sum(p.numel() for p in model.parameters())
    assert parts['total']['parameters'] == weights
    # The parts make the whole.
    own = sum(parts[name]['flops'] for name in ('backbone', 'neck', 'head'))
    assert own == parts['total']['flops']
    inside = ('head.blocks', 'head.predictors', 'neck.memory')
    head = sum(parts[name]['flops'] for name in inside)
    assert head == pytest.approx(parts['head']['flops'])
    assert parts['neck.reconstruction']['flops'] == 0
    assert 'neck.quantizer' in done.stdout


ARCH = dict(embed_dims=48, num_layers=2, num_heads=3, feedforward_channels=96)


@pytest.mark.parametrize(
    'name, smaller',
    [
        ('vit_base', dict(arch=ARCH)),
        ('swin_tiny', dict()),
        ('mit_b0', dict()),
        ('convnext_tiny', dict()),
        ('mobilenet_v3_large', dict()),
        ('efficientnet_lite0', dict()),
    ],
)
def test_backbones_against_a_count_by_hand(name, smaller):
    """Attention is there: torch's own counter misses that of its fused
    kernels.
    """
    path = ROOT / f'configs/_base_/backbones/{name}.py'
    backbone = dict(Config.fromfile(path).backbone, **smaller)
    tasks = dict(semseg=dict(num_classes=7))
    model = tiny_model(tasks, backbone=backbone)
    rows = runpy.run_path(str(TOOL))['count'](model, (64, 96))
    assert rows['total']['flops'] == by_hand(model, (64, 96))
    assert torch.backends.mha.get_fastpath_enabled()

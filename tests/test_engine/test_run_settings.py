"""Settings of a run, in one process: precision, accumulation, compilation,
memory layout.
"""

import pytest
import torch
from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.optim import build_optim_wrapper
from mmengine.runner import Runner
from torch.nn.modules.batchnorm import _BatchNorm

from mmprotomtl.engine import CompileHook
from mmprotomtl.testing import scene_batch, tiny_model, tiny_run
from mmprotomtl.utils.launch import prepare_cpu_launch, use_mixed_precision
from tests.conftest import ROOT

TASKS = dict(semseg=dict(num_classes=7), depth=dict())


class Losses(Hook):
    """Keeps the losses of each step."""

    def __init__(self):
        self.kept = []

    def after_train_iter(self, runner, batch_idx, data_batch, outputs):
        self.kept.append(outputs['loss'].item())


def run_config(work_dir):
    cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
    cfg.merge_from_dict(tiny_run(TASKS))
    cfg.train_dataloader.update(num_workers=0, persistent_workers=False)
    cfg.train_cfg.max_epochs = 1
    cfg.work_dir = str(work_dir)
    return cfg


def train(cfg, name):
    """Run it; returns the runner and the losses of its six steps."""
    cfg.experiment_name = f'{cfg.work_dir}-{name}'
    runner = Runner.from_cfg(cfg)
    losses = Losses()
    runner.register_hook(losses)
    runner.train()
    return runner, losses.kept


@pytest.fixture(scope='module')
def plain(tmp_path_factory):
    """Losses of a run with none of the settings."""
    return train(run_config(tmp_path_factory.mktemp('plain')), 'plain')[1]


def test_bfloat16_on_a_cpu(plain, tmp_path):
    cfg = run_config(tmp_path)
    use_mixed_precision(cfg, 'auto')
    assert cfg.optim_wrapper.type == 'BFloat16OptimWrapper'
    cfg.experiment_name = f'{tmp_path}-bf16'
    runner = Runner.from_cfg(cfg)
    losses, kinds = Losses(), {}
    runner.register_hook(losses)
    model = runner.model
    model.neck.fusion.smooth.conv.register_forward_hook(
        lambda part, args, out: kinds.update(conv=out.dtype)
    )
    model.neck.akg_loss.register_forward_hook(
        lambda part, args, out: kinds.update(akg=out['tke'].dtype)
    )
    runner.train()
    assert kinds == dict(conv=torch.bfloat16, akg=torch.float32)
    assert {p.dtype for p in model.parameters()} == {torch.float32}
    assert losses.kept != plain
    assert losses.kept == pytest.approx(plain, rel=0.05)


def test_mixed_precision_of_a_config():
    cfg = Config(dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=1))))
    if not torch.cuda.is_available():
        with pytest.raises(ValueError, match='float16 needs a GPU.*bfloat16'):
            use_mixed_precision(cfg, 'float16')
    cfg.optim_wrapper.update(type='AmpOptimWrapper', loss_scale='dynamic')
    use_mixed_precision(cfg, 'bfloat16')
    assert cfg.optim_wrapper == dict(
        type='BFloat16OptimWrapper', optimizer=dict(type='SGD', lr=1)
    )
    cfg.optim_wrapper.type = 'ApexOptimWrapper'
    with pytest.raises(ValueError, match="type with --amp='ApexOptimWrapper'"):
        use_mixed_precision(cfg, 'auto')


def test_float16_where_there_is_a_gpu(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: True)
    cfg = Config(dict(optim_wrapper=dict(optimizer=dict(type='SGD', lr=1))))
    use_mixed_precision(cfg, 'auto')
    assert cfg.optim_wrapper == dict(
        type='AmpOptimWrapper', dtype='float16', loss_scale='dynamic',
        optimizer=dict(type='SGD', lr=1),
    )  # fmt: skip


def test_sync_bn_needs_gpus(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(ValueError, match="sync_bn='torch' needs GPUs"):
        prepare_cpu_launch('pytorch', Config(dict(sync_bn='torch')))


#: Images of a batch, and of which tasks they have labels.
BATCHES = {
    'equal': [['semseg'], ['depth'], ['depth'], ['semseg']],
    'unequal': [[], [], ['semseg'], ['depth']],
}


def updated(labels, parts, reduction):
    """The gradient of one update by ``parts`` accumulated batches."""
    torch.manual_seed(0)
    model = tiny_model(
        TASKS,
        neck=dict(akg_loss=dict(type='AKGLoss', tc_weight=0)),
        head=dict(reduction=reduction),
    )
    model.train()
    for module in model.modules():
        if isinstance(module, _BatchNorm):
            module.eval()
    wrapper = build_optim_wrapper(
        model,
        dict(
            type='OptimWrapper',
            optimizer=dict(type='SGD', lr=1.0),
            accumulative_counts=parts,
        ),
    )
    start = {n: p.detach().clone() for n, p in model.named_parameters()}
    batch = scene_batch(BATCHES[labels], tasks=TASKS)
    size = 4 // parts
    for part in range(parts):
        piece = slice(part * size, (part + 1) * size)
        data = {key: value[piece] for key, value in batch.items()}
        model.train_step(data, wrapper)
    return {n: start[n] - p.detach() for n, p in model.named_parameters()}


@pytest.mark.parametrize(
    'labels, reduction',
    [
        ('equal', 'batch'),
        ('equal', 'balanced'),
        ('equal', 'per-task'),
        ('unequal', 'batch'),
    ],
)
def test_accumulated_gradients(labels, reduction):
    whole, two = (updated(labels, parts, reduction) for parts in (1, 2))
    assert whole['head.predictors.0.weight'].abs().sum() > 0
    for name, gradient in whole.items():
        torch.testing.assert_close(
            two[name], gradient, rtol=1e-3, atol=2e-6, msg=name
        )


def test_what_accumulation_does_not_know():
    """A batch without labels counts as one: the losses of the others halve,
    where they are divided by the labelled images.
    """
    whole, two = (updated('unequal', parts, 'balanced') for parts in (1, 2))
    name = 'head.predictors.0.bias'
    assert whole[name].abs().sum() > 0
    torch.testing.assert_close(2 * two[name], whole[name])
    name = 'neck.reconstruction.1.weight'  # of L_tae, which needs no label
    torch.testing.assert_close(two[name], whole[name], rtol=1e-3, atol=2e-6)


def test_compiled_parts(plain, tmp_path):
    """The same losses, and nothing is compiled again at a later step."""
    graphs = []

    def backend(graph, example_inputs):
        graphs.append(steps.kept.copy())
        return graph

    cfg = run_config(tmp_path)
    cfg.custom_hooks.append(dict(type='CompileHook', backend='eager'))
    cfg.experiment_name = f'{tmp_path}-compiled'
    runner = Runner.from_cfg(cfg)
    (hook,) = (h for h in runner.hooks if isinstance(h, CompileHook))
    hook.kwargs['backend'] = backend
    steps = Losses()
    runner.register_hook(steps)
    names = set(runner.model.state_dict())
    runner.train()
    assert steps.kept == pytest.approx(plain, rel=1e-5)
    assert set(runner.model.state_dict()) == names
    # Compiled in the first step, or the second, where a shape turned out to
    # vary; not by the labels.
    assert graphs
    assert max(len(kept) for kept in graphs) <= 1


def test_parts_to_compile_are_checked(tmp_path):
    cfg = run_config(tmp_path)
    cfg.custom_hooks.append(dict(type='CompileHook', parts=['spine']))
    cfg.experiment_name = f'{tmp_path}-spine'
    with pytest.raises(
        ValueError,
        match='has no spine; it has data_preprocessor, backbone, neck, head$',
    ):
        Runner.from_cfg(cfg).train()


def test_channels_last():
    results, start = [], None
    for channels_last in (False, True):
        torch.manual_seed(0)
        model = tiny_model(channels_last=channels_last).train()
        # Random numbers are drawn in the order of the memory.
        start = start or model.state_dict()
        model.load_state_dict(start)
        start = {k: v.clone() for k, v in start.items()}
        seen = []
        model.neck.fusion.register_forward_hook(
            lambda part, args, out, seen=seen: seen.append((args[0][0], out))
        )
        labels = [['semseg', 'depth'], ['normals', 'edge']]
        data = model.data_preprocessor(scene_batch(labels, (64, 96)), True)
        losses = model.loss(**data)
        sum(losses.values()).backward()
        (maps,) = seen
        for feature in maps:
            assert channels_last == feature.is_contiguous(
                memory_format=torch.channels_last
            )
        weight = model.backbone.layer1[0].conv1.weight
        results.append((losses, weight.grad))
        assert channels_last == weight.is_contiguous(
            memory_format=torch.channels_last
        )
    torch.testing.assert_close(*results, rtol=1e-3, atol=1e-4)

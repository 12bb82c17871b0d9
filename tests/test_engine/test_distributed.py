"""Two gloo processes against one with the same global batch."""

import copy
from functools import cache
from types import SimpleNamespace

import pytest
import torch
from mmengine.model import convert_sync_batchnorm
from torch import distributed as dist
from torch import multiprocessing as mp
from torch.distributed.nn.functional import all_reduce as differentiable_sum
from torch.nn.modules.batchnorm import _BatchNorm
from torch.nn.parallel import DistributedDataParallel

from mmprotomtl.engine import LabelledLossHook, SameRunHook
from mmprotomtl.testing import scene_batch, tiny_model

ALL = ('semseg', 'human_parts', 'sal', 'normals', 'edge', 'depth')
#: Labels of the four images; the first two are those of rank 0.
PATTERNS = {
    'one-label': [['semseg'], ['depth'], ['normals'], ['edge']],
    'a rank without labels': [[], [], ['semseg'], ['depth']],
    'full': [ALL] * 4,
    'none': [[]] * 4,
}
RULES = {
    'gradient': dict(),
    # No rule of the codebook, but what else ranks have to agree on.
    'consistency': dict(consistency=dict(weight=9.0, flip=1.0, dropout=0.0)),
    'ema': dict(update='ema'),
    'cosine': dict(distance='cosine'),
    'kmeans': dict(kmeans_steps=2),
    # Counts fall by 1 % a step where nothing chooses a code.
    'replacing': dict(replace_below=0.95),
    'all': dict(
        update='ema', kmeans_steps=2, replace_below=0.95, distance='cosine'
    ),
}
#: Label patterns for the step with SyncBN.
SYNCED = ('one-label', 'a rank without labels')


class Trainer(torch.nn.Module):
    """What DDP wraps: the sum of the losses of a batch."""

    def __init__(self, rule, reduction, norm='frozen'):
        super().__init__()
        torch.manual_seed(0)
        rule = dict(rule)
        self.model = tiny_model(
            consistency=rule.pop('consistency', None),
            neck=dict(
                quantizer=dict(
                    type='VectorQuantizer', num_codes=24, code_dim=16, **rule
                )
            ),
            head=dict(reduction=reduction),
        )
        self.model.train()
        if norm == 'sync':
            self.model = convert_sync_batchnorm(self.model, 'torch')
        # Statistics of a batch are a rank's own where there is no SyncBN.
        for module in self.model.modules():
            if norm == 'frozen' and isinstance(module, _BatchNorm):
                module.eval()

    def forward(self, batch):
        batch = self.model.data_preprocessor(batch, True)
        losses = self.model.loss(**batch)
        return losses


def synced_norm(self, x):
    """What SyncBatchNorm computes, which torch does on GPUs only."""
    sides = [0, *range(2, x.ndim)]
    shape = [1, -1] + [1] * (x.ndim - 2)
    count = x.numel() / x.shape[1] * dist.get_world_size()
    mean = differentiable_sum(x.sum(sides)) / count
    x = x - mean.view(shape)
    var = differentiable_sum(x.square().sum(sides)) / count
    self.running_mean.lerp_(mean.detach(), self.momentum)
    unbiased = var.detach() * count / (count - 1)
    self.running_var.lerp_(unbiased, self.momentum)
    x = x * (var + self.eps).rsqrt().view(shape)
    return x * self.weight.view(shape) + self.bias.view(shape)


@cache
def scenes(pattern):
    return scene_batch(PATTERNS[pattern])


def batch_of(pattern, rank=None):
    batch = copy.deepcopy(scenes(pattern))
    if rank is None:
        return batch
    return {k: v[2 * rank : 2 * rank + 2] for k, v in batch.items()}


def gradients(model):
    return {n: p.grad.clone() for n, p in model.named_parameters()
            if p.grad is not None}  # fmt: skip


def one_step(rule, reduction, pattern, rank=None, norm='frozen'):
    """Losses and gradients of a step, and the codebook after it."""
    trainer = Trainer(RULES[rule], reduction, norm)
    wrapped = trainer if rank is None else DistributedDataParallel(
        trainer, broadcast_buffers=False
    )  # fmt: skip
    losses = wrapped(batch_of(pattern, rank))
    sum(losses.values()).backward()
    losses = {k: v.detach().clone() for k, v in losses.items()}
    for loss in losses.values() if rank is not None else ():
        dist.all_reduce(loss)
        loss /= dist.get_world_size()
    neck = trainer.model.neck
    codes = neck.quantizer.codes.detach().clone()
    if norm != 'frozen':
        codes = neck.fusion.smooth.bn.running_var.clone()
    return losses, gradients(trainer), codes


def many_steps(rule, rank=None, norm='frozen'):
    """All weights after 20 steps, in every other of which the first half of
    the batch, which is that of rank 0, has no label.
    """
    trainer = Trainer(RULES[rule], 'batch', norm)
    wrapped = trainer if rank is None else DistributedDataParallel(
        trainer, broadcast_buffers=False
    )  # fmt: skip
    optimizer = torch.optim.AdamW(trainer.parameters(), lr=1e-3)
    quantizer, replaced = trainer.model.neck.quantizer, torch.zeros(())
    replace = quantizer._replace_dead

    def count_and_replace(*args):
        replaced.add_((quantizer.code_count < quantizer.replace_below).sum())
        replace(*args)

    quantizer._replace_dead = count_and_replace
    for step in range(20):
        batch = batch_of(list(PATTERNS)[step % 2], rank)
        optimizer.zero_grad()
        sum(wrapped(batch).values()).backward()
        optimizer.step()
    state = {k: v.clone() for k, v in trainer.model.state_dict().items()}
    return dict(state, replaced=replaced)


def before_a_validation(rank):
    """What is in the buffers of a process, which have been its own."""
    norm = torch.nn.BatchNorm1d(3)
    norm.running_mean += rank
    norm.num_batches_tracked += 5 * rank
    SameRunHook().before_val_epoch(SimpleNamespace(model=norm))
    return dict(norm.named_buffers())


def logged_losses(pattern, rank=None):
    """What the log gets of a step."""
    trainer = Trainer(RULES['gradient'], 'balanced')
    losses = trainer(batch_of(pattern, rank))
    runner = SimpleNamespace(model=trainer.model)
    LabelledLossHook().after_train_iter(runner, 0, None, losses)
    return {k: v.detach() for k, v in losses.items()}


def worker(rank, jobs, folder):
    torch.set_num_threads(1)
    dist.init_process_group(
        'gloo', init_method=f'file://{folder}/store', rank=rank, world_size=2
    )
    torch.nn.SyncBatchNorm.forward = synced_norm
    check = '_passing_sync_batchnorm_handle'  # that there is a GPU
    setattr(DistributedDataParallel, check, lambda *_: None)
    does = dict(
        one=one_step,
        many=many_steps,
        sync=lambda *step: one_step(*step, norm='sync'),
        synced=lambda *rule: many_steps(*rule, norm='sync'),
        validation=before_a_validation,
        logged=logged_losses,
    )
    results = {job: does[job[0]](*job[1:], rank) for job in jobs}
    torch.save(results, f'{folder}/{rank}.pth')
    dist.destroy_process_group()


#: (codebook rule, reduction over labels, label pattern) of a single step.
STEPS = [
    *(('gradient', 'batch', pattern) for pattern in PATTERNS),
    ('gradient', 'balanced', 'one-label'),
    ('gradient', 'balanced', 'a rank without labels'),
    ('gradient', 'per-task', 'a rank without labels'),
    ('ema', 'batch', 'one-label'),
    ('cosine', 'per-task', 'one-label'),
    ('consistency', 'batch', 'one-label'),
    ('consistency', 'batch', 'a rank without labels'),
]


@pytest.fixture(scope='module')
def two(tmp_path_factory):
    """All jobs in two processes, which start but once."""
    folder = tmp_path_factory.mktemp('gloo')
    jobs = [('one', *step) for step in STEPS]
    jobs += [('many', rule) for rule in RULES]
    jobs += [('sync', 'gradient', 'batch', pattern) for pattern in SYNCED]
    jobs += [('synced', 'gradient'), ('validation',)]
    jobs += [('logged', pattern) for pattern in PATTERNS]
    mp.start_processes(worker, (jobs, str(folder)), 2, start_method='spawn')
    return [torch.load(folder / f'{rank}.pth') for rank in range(2)]


@pytest.mark.parametrize('pattern', PATTERNS)
def test_both_log_the_losses_of_what_some_process_has(two, pattern):
    """Those of one process with both batches; none of a task of no label."""
    labelled = {name for labels in PATTERNS[pattern] for name in labels}
    expected, _, _ = one_step('gradient', 'balanced', pattern)
    for found in (two[0]['logged', pattern], two[1]['logged', pattern]):
        tasks = {key.removesuffix('.loss') for key in found} & set(ALL)
        assert tasks == labelled
        for key, value in found.items():
            torch.testing.assert_close(
                value, expected[key], rtol=1e-5, atol=1e-6
            )


@pytest.mark.parametrize('step', STEPS, ids=', '.join)
def test_a_step_is_that_of_one_process(two, step):
    losses, grads, codes = one_step(*step)
    assert any(grad.abs().sum() > 0 for grad in grads.values())
    for rank in range(2):
        their_losses, their_grads, their_codes = two[rank][('one', *step)]
        torch.testing.assert_close(their_losses, losses, rtol=1e-5, atol=1e-6)
        assert set(their_grads) >= set(grads)
        for name, grad in their_grads.items():
            mine = grads.get(name, torch.zeros_like(grad))
            torch.testing.assert_close(
                grad, mine, rtol=1e-3, atol=1e-5, msg=lambda m, n=name: n + m
            )
        torch.testing.assert_close(their_codes, codes)


@pytest.mark.parametrize('rule', RULES)
def test_ranks_stay_equal(two, rule):
    first, second = (part['many', rule] for part in two)
    start = Trainer(RULES[rule], 'batch').model.state_dict()
    for name in ('neck.quantizer.codes', 'neck.prototypes'):
        assert not torch.equal(first[name], start[name])
    assert (first['replaced'] > 0) == ('replace_below' in RULES[rule])
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name


@pytest.mark.parametrize('pattern', SYNCED)
def test_sync_bn(two, pattern):
    """Every rank enters every SyncBN, whatever its labels, and what comes of
    it is the batch norm of one process with all images.
    """
    step = ('gradient', 'batch', pattern)
    losses, grads, variance = one_step(*step, norm='batch')
    for rank in range(2):
        their_losses, their_grads, theirs = two[rank][('sync', *step)]
        torch.testing.assert_close(their_losses, losses, rtol=1e-4, atol=1e-5)
        torch.testing.assert_close(theirs, variance, rtol=1e-4, atol=1e-6)
        assert set(their_grads) >= set(grads)
        for name, grad in grads.items():
            error = (their_grads[name] - grad).norm()
            assert error <= 1e-3 * grad.norm() + 1e-5, name


@pytest.mark.parametrize(
    ('job', 'norm'), [('many', 'frozen'), ('synced', 'batch')]
)
def test_the_weights_after_20_steps(two, job, norm):
    """Are those of one process, up to rounding, beside what was learned."""
    mine = many_steps('gradient', norm=norm)
    start = Trainer(RULES['gradient'], 'batch', norm).model.state_dict()
    moved = 0
    for theirs in (part[job, 'gradient'] for part in two):
        assert theirs.keys() == mine.keys()
        for name in start:
            if name.endswith('num_batches_tracked'):
                continue  # The stand-in of SyncBN does not count.
            learned = (mine[name].double() - start[name].double()).norm()
            error = (theirs[name].double() - mine[name].double()).norm()
            assert error <= 2e-3 * learned + 1e-6, name
            moved += learned > 0
    assert moved > len(start)


def test_all_validate_the_network_of_the_first(two):
    """Which is the one that checkpoints hold."""
    for found in (part['validation',] for part in two):
        assert torch.equal(found['running_mean'], torch.zeros(3))
        assert torch.equal(found['running_var'], torch.ones(3))
        assert found['num_batches_tracked'] == 0

"""Each arm of the control experiments does what its name says."""

import copy
import runpy
from functools import cache
from pathlib import Path

import pytest
import torch

from mmprotomtl.engine import load_config
from mmprotomtl.registry import MODELS
from mmprotomtl.testing import TASKS, scene_batch

ROOT = Path(__file__).resolve().parents[2]
PLAN = runpy.run_path(str(ROOT / 'benchmarks/plans/controls.py'))
ARMS, DIRECTIONS = PLAN['ARMS'], PLAN['DIRECTIONS']
LABELS = [['semseg'], ['depth'], ['normals'], []]
ALL = ('semseg', 'depth', 'normals')
SMALL = dict(channels=16, num_codes=24, code_dim=16, prototype_dim=12)
# With random projections, L_tc is 0 at the margin of the preset.
SMALL['model.neck.akg_loss.margin'] = 2.0


@cache
def batch():
    return scene_batch(LABELS, tasks={name: TASKS[name] for name in ALL})


class Arm:
    """An arm after two training steps."""

    def __init__(self, name):
        arm = {**ARMS, **DIRECTIONS}[name]
        cfg = load_config(ROOT / arm['config'])
        small = SMALL if cfg.model.neck.type == 'PrototypeNeck' else {}
        small = small or dict(channels=16)
        small = {**small, 'backbone.init_cfg': None, **arm['options']}
        cfg = load_config(ROOT / arm['config'], small)
        torch.manual_seed(0)
        self.model = MODELS.build(cfg.model).train()
        self.model.init_weights()
        self.start = copy.deepcopy(self.model.state_dict())
        optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1)
        for _ in range(2):
            self.losses = self.losses_of_a_step()
            optimizer.zero_grad()
            self.model.parse_losses(self.losses)[0].backward()
            for parameter in self.model.parameters():
                # DDP waits for the gradient of each.
                assert (parameter.grad is not None) == parameter.requires_grad
            optimizer.step()
        self.end = self.model.state_dict()

    def losses_of_a_step(self):
        data = self.model.data_preprocessor(copy.deepcopy(batch()), True)
        return self.model.loss(**data)

    def moved(self, part):
        """Whether weights of a part changed; they have to exist."""
        keys = [key for key in self.start if key.startswith(part)]
        assert keys, part
        return any(not torch.equal(self.start[k], self.end[k]) for k in keys)

    def has(self, part):
        return any(key.startswith(part) for key in self.start)

    def task_gradient(self, part):
        """Gradient of the tasks' losses alone."""
        losses = self.losses_of_a_step()
        weight = self.model.get_parameter(part)
        total = sum(losses[f'{name}.loss'] for name in ALL)
        (grad,) = torch.autograd.grad(total, weight, allow_unused=True)
        return torch.zeros_like(weight) if grad is None else grad


@cache
def arm(name):
    return Arm(name)


PROJECTION = 'neck.projections.0.weight'


@pytest.mark.parametrize('name', ARMS)
def test_every_arm_trains_its_tasks(name):
    for task in range(3):
        assert arm(name).moved(f'neck.decoders.{task}')
    # The method's losses are there, and 0 where they have no weight.
    losses = {key for key in arm(name).losses if key.split('.')[0] not in ALL}
    method = {'tae.loss', 'tke.loss', 'tc.loss'}
    assert losses == (set() if name == 'baseline' else method)
    off = {
        'only_tae': {'tke', 'tc'},
        'no_tc': {'tc'},
        'learned_token': {'tke'},
        'learned_token_no_losses': {'tae', 'tke', 'tc'},
        'no_tae': {'tae'},
        'no_tke': {'tke'},
    }
    for key in losses:
        zero = key.split('.')[0] in off.get(name, set())
        assert (arm(name).losses[key] == 0) == zero, key


@pytest.mark.parametrize('name', DIRECTIONS)
def test_every_direction_trains_its_tasks(name):
    for task in range(3):
        assert arm(name).moved(f'neck.decoders.{task}')
    for part in ('neck.prototypes', 'head.blocks'):
        assert arm(name).moved(part), part
    consistent = name == 'consistency'
    assert ('consistency.loss' in arm(name).losses) == consistent
    assert arm(name).has('head.positions') == (name == 'position')
    if name == 'used_codebook':
        assert arm(name).moved('neck.to_codes')


def test_the_method_has_all_parts():
    for part in (
        'neck.quantizer.codes', 'neck.prototypes', 'neck.reconstruction',
        'neck.projections', 'head.blocks',
    ):  # fmt: skip
        assert arm('method').moved(part), part
    assert (arm('method').task_gradient(PROJECTION) != 0).any()
    assert not arm('baseline').has('neck.prototypes')
    assert not arm('baseline').has('head.blocks')


@pytest.mark.parametrize('name', ['no_transformer', 'only_tae'])
def test_no_transformer(name):
    assert not arm(name).has('head.blocks')
    # Nothing of the memory comes to the predictions.
    assert not arm(name).task_gradient('neck.prototypes').any()
    trained = name == 'no_transformer'
    assert arm(name).moved('neck.prototypes') == trained  # by L_tke
    assert arm(name).moved('neck.quantizer.codes')


@pytest.mark.parametrize(
    'name',
    ['learned_token', 'learned_token_no_losses'],
)
def test_learned_token(name):
    assert arm(name).moved('neck.memory.token')
    assert not arm(name).moved('neck.prototypes')
    everything = name == 'learned_token_no_losses'
    assert arm(name).moved('neck.projections') != everything  # by L_tc
    assert arm(name).moved('neck.reconstruction') != everything


def test_uniform_affinity():
    """The tasks' losses do not reach the affinities, and each prototype gets
    the same part of their gradient.
    """
    uniform = arm('uniform_affinity')
    for task in range(3):
        key = f'neck.projections.{task}.weight'
        assert not uniform.task_gradient(key).any()
    grad = uniform.task_gradient('neck.prototypes')
    assert grad.any()
    torch.testing.assert_close(grad, grad[:1].expand_as(grad))
    assert uniform.moved('neck.projections')  # by L_tke


def test_frozen_prototypes():
    frozen = arm('frozen_prototypes')
    assert not frozen.moved('neck.prototypes')
    assert frozen.moved('neck.projections')
    # As random as they are drawn, and not equal.
    assert 0.5 < frozen.end['neck.prototypes'].std() < 1.5


def test_no_codebook():
    model = arm('no_codebook').model
    for part in ('neck.quantizer', 'neck.to_codes', 'neck.from_codes'):
        assert not arm('no_codebook').has(part)
    model = copy.deepcopy(model).eval()
    feats = model.backbone(torch.randn(1, 3, 64, 64))
    shared = model.neck(feats).extras['shared']
    assert torch.equal(shared, model.neck.fusion(feats))
    assert model.neck.statistics()['codebook'] == {}
    assert arm('no_codebook').moved('neck.reconstruction')


def test_no_tae():
    assert not arm('no_tae').moved('neck.reconstruction')
    assert arm('no_tae').moved('neck.quantizer.codes')


def test_no_tke_and_no_tc():
    """What the affinity's loss does to the projections is gone; the loss that
    stays moves them.
    """
    for name, key in (('no_tke', 'tc.loss'), ('no_tc', 'tke.loss')):
        losses = arm(name).losses_of_a_step()
        weight = arm(name).model.get_parameter(PROJECTION)
        zero, left = ('tke.loss', 'tc.loss')[:: 1 if key == 'tc.loss' else -1]
        (grad,) = torch.autograd.grad(losses[zero], weight, retain_graph=True)
        assert not grad.any()
        (grad,) = torch.autograd.grad(losses[left], weight)
        assert grad.any()


def test_the_method_without_all_of_it_is_the_baseline():
    """Its predictions are, with the baseline's weights."""
    plain = arm('baseline').model
    cfg = load_config(
        ROOT / ARMS['no_transformer']['config'],
        {
            **SMALL,
            'backbone.init_cfg': None,
            'num_codes': 0,
            'num_blocks': 0,
        },
    )
    model = MODELS.build(cfg.model)
    missing, unexpected = model.load_state_dict(
        plain.state_dict(), strict=False
    )
    assert not unexpected
    assert all(key.startswith('neck.') for key in missing)
    image = torch.randn(1, 3, 64, 64)
    plain = copy.deepcopy(plain).eval()
    for ours, theirs in zip(
        model.eval()(image, mode='tensor'),
        plain(image, mode='tensor'),
        strict=True,
    ):
        assert torch.equal(ours, theirs)


@pytest.mark.parametrize(
    ('options', 'words'),
    [
        ({'model.neck.memory.type': 'CodeMemory'}, 'CodeMemory'),
        ({'model.neck.quantizer.update': 'ema'}, 'quantizer.update'),
    ],
)
def test_settings_without_a_codebook_to_act_on(options, words):
    config = ROOT / ARMS['no_codebook']['config']
    cfg = load_config(config, {'num_codes': 0, **options})
    with pytest.raises(ValueError, match=words):
        MODELS.build(cfg.model)

"""Features of unlabelled tasks against those of a mean teacher."""

import copy
from functools import cache

import pytest
import torch
from torch.nn import functional as F

from mmprotomtl.engine.sharded import check_teacher
from mmprotomtl.models import FeatureConsistency, check_weights
from mmprotomtl.models.consistency import TEACHER
from mmprotomtl.testing import PLAIN, TASKS, scene_batch, tiny_model

SMALL = {name: TASKS[name] for name in ('semseg', 'normals', 'depth')}
ALL = list(SMALL)
PATTERNS = {
    'one': [['semseg'], ['depth']],
    'none for a task': [['semseg'], ['semseg', 'depth']],
    'an image without labels': [ALL, []],
    'none at all': [[], []],
    'full': [ALL, ALL],
    'no normals': [['semseg', 'depth']] * 2,
}
KINDS = dict(method={}, baseline=PLAIN)


def network(kind='method', **settings):
    torch.manual_seed(0)
    settings = dict(weight=2.0, flip=0.0, dropout=0.0) | settings
    return tiny_model(SMALL, consistency=settings, **KINDS[kind]).train()


@cache
def scenes(name):
    return scene_batch(PATTERNS[name], tasks=SMALL)


def losses_of(model, name):
    batch = copy.deepcopy(scenes(name))
    return model(**model.data_preprocessor(batch, True), mode='loss')


@pytest.mark.parametrize(
    ('kind', 'flip'), [('method', 0.0), ('method', 1.0), ('baseline', 1.0)]
)
@pytest.mark.parametrize('labelled', PATTERNS)
def test_the_loss_is_that_of_a_hand_computation(labelled, flip, kind):
    model = network(kind, flip=flip)
    student = copy.deepcopy(model)
    losses = losses_of(model, labelled)
    found = losses['consistency.loss']
    # At the first step the teacher is the network, run as in a test.
    teacher = copy.deepcopy(student).eval()
    batch = copy.deepcopy(scenes(labelled))
    inputs = student.data_preprocessor(batch, True)['inputs']
    with torch.no_grad():
        maps = student.backbone(inputs)
        # A teacher has the running statistics after the network's step.
        pairs = [[0, 1]] * 3
        features = student.neck(maps)
        own = student.head.refine(features, pairs)
        teacher.neck.load_state_dict(student.neck.state_dict())
        view = [each.flip(-1) if flip else each for each in maps]
        theirs = teacher.head.refine(teacher.neck(view), pairs)
    expected = []
    for task, name in enumerate(student.tasks):
        for image, labels in enumerate(PATTERNS[labelled]):
            # The mirror changes what a normal is.
            if name in labels or (flip and name == 'normals'):
                continue
            a, b = own[task][image], theirs[task][image]
            b = b.flip(-1) if flip else b
            a, b = F.normalize(a, dim=0), F.normalize(b, dim=0)
            expected.append(1 - (a * b).sum(0).mean())
    mean = torch.stack(expected).mean() if expected else torch.zeros(())
    assert torch.allclose(found, 2 * mean, atol=1e-5)
    assert (found > 1e-3) == bool(expected)


@pytest.mark.parametrize('labelled', PATTERNS)
def test_gradients_reach_the_network_and_not_the_teacher(labelled):
    model = network(flip=0.5, dropout=0.3)
    losses = losses_of(model, labelled)
    model.parse_losses(losses)[0].backward()
    for name, parameter in model.named_parameters():
        teacher = name.startswith('consistency')
        assert (parameter.grad is None) == teacher, name
        assert teacher or parameter.grad.isfinite().all(), name


def test_which_features_are_drawn():
    """Those of the tasks without a label; predictors get nothing."""
    model = network()
    loss = losses_of(model, 'no normals')['consistency.loss']
    weights = dict(model.named_parameters())
    keys = [
        *(f'neck.decoders.{task}.0.conv1.weight' for task in range(3)),
        *(f'head.predictors.{task}.weight' for task in range(3)),
    ]
    grads = torch.autograd.grad(
        loss, [weights[key] for key in keys], allow_unused=True
    )
    moved = [grad is not None and bool(grad.any()) for grad in grads]
    assert moved == [False, True, False] + [False] * 3


def test_the_teacher_is_a_moving_average():
    model = network(decay=0.6)
    key = 'head.predictors.1.weight'
    weight, seen, average = model.get_parameter(key), [], 0.0
    for step in range(5):
        with torch.no_grad():
            weight.fill_(step * step)
        seen.append(float(weight[0, 0, 0, 0]))
        losses_of(model, 'one')
        share = min(0.6, step / (step + 1))
        last = average if step else seen[0]
        average = share * last + (1 - share) * seen[-1]
        teacher = model.consistency.get_parameter(key)
        assert torch.allclose(teacher, torch.full_like(teacher, average))
    # Its statistics of batch norm are copies of the network's.
    assert not model.train().consistency.neck.training
    ours, theirs = (
        part.neck.fusion.smooth.bn.running_var
        for part in (model.consistency, model)
    )
    assert torch.equal(ours, theirs)
    assert not torch.equal(ours, torch.ones_like(ours))


def test_dropout_takes_whole_channels_of_the_view():
    model = network(dropout=0.5)
    seen = []
    model.consistency.neck.register_forward_pre_hook(
        lambda _, args: seen.append(args[0])
    )
    losses_of(model, 'one')
    batch = copy.deepcopy(scenes('one'))
    inputs = model.data_preprocessor(batch, True)['inputs']
    kept = total = 0
    for view, whole in zip(seen[0], model.backbone(inputs), strict=True):
        for image in range(2):
            for one, other in zip(view[image], whole[image], strict=True):
                if other.any():
                    total, kept = total + 1, kept + bool(one.any())
                    expected = 2 * other if one.any() else 0 * other
                    assert torch.allclose(one, expected, atol=1e-4)
    assert 0.3 < kept / total < 0.7


def test_a_resumed_run_goes_on_as_it_would_have():
    def train(model, optimizer, steps):
        for step in steps:
            torch.manual_seed(step)  # as IterSeedHook does
            losses = losses_of(model, 'one')
            optimizer.zero_grad()
            model.parse_losses(losses)[0].backward()
            optimizer.step()

    def start():
        model = network(flip=0.5, dropout=0.2)
        return model, torch.optim.AdamW(model.parameters(), lr=1e-2)

    straight, optimizer = start()
    train(straight, optimizer, range(3))
    state = copy.deepcopy((straight.state_dict(), optimizer.state_dict()))
    train(straight, optimizer, range(3, 6))
    resumed, optimizer = start()
    resumed.load_state_dict(state[0])
    optimizer.load_state_dict(state[1])
    train(resumed, optimizer, range(3, 6))
    expected = straight.state_dict()
    assert any(key.startswith('consistency.neck') for key in expected)
    for key, value in resumed.state_dict().items():
        assert torch.equal(value, expected[key]), key


def test_weights_without_a_teacher():
    """As published ones are: it is a copy of the network at the next step."""
    source = network()
    losses_of(source, 'one')
    weights = {
        key: torch.full_like(value, 2) if 'predictors' in key else value
        for key, value in source.state_dict().items()
        if not key.startswith(TEACHER)
    }
    model = network()
    for _ in range(3):
        losses_of(model, 'one')
    check_weights(model, weights, 'published.pth')
    assert model.consistency.steps == 0
    losses_of(model, 'one')
    key = 'head.predictors.1.weight'
    assert (model.consistency.get_parameter(key) == 2).all()
    # A part of a teacher is no teacher.
    weights['consistency.steps'] = torch.ones(())
    with pytest.raises(ValueError, match='missing in it'):
        check_weights(model, weights, 'published.pth')


def test_it_is_off_by_a_weight_of_zero():
    for consistency in (None, dict(weight=0)):
        model = tiny_model(SMALL, consistency=consistency)
        assert model.consistency is None
        assert 'consistency.loss' not in losses_of(model, 'one')


@pytest.mark.parametrize(
    ('setting', 'value'),
    [('weight', -1), ('flip', 1.5), ('dropout', 1.0), ('decay', 1.0)],
)
def test_values_that_are_not_allowed(setting, value):
    with pytest.raises(ValueError, match=f'consistency.{setting}={value}'):
        network(**{setting: value})


def test_sharded_weights_have_no_teacher():
    model = network()
    assert isinstance(model.consistency, FeatureConsistency)
    with pytest.raises(ValueError, match=r'model.consistency.weight=2.0'):
        check_teacher(model)
    check_teacher(tiny_model(SMALL))

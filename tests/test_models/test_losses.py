import numpy as np
import pytest
import torch

from mmprotomtl.models.losses import AKGLoss, reduce_over_labels


def hand_tke(similarity, temperature):
    total, count = 0.0, 0
    for t, images in enumerate(similarity):
        for row in images.reshape(-1, images.shape[-1]):
            weight = np.exp(row / temperature)
            total -= np.log(weight[t] / weight.sum())
            count += 1
    return total / count


def hand_tc(features, margin):
    def unit(v):
        return v / np.linalg.norm(v)

    tasks, images = features.shape[:2]
    anchor = np.array(
        [[unit(features[t, n]) for n in range(images)] for t in range(tasks)]
    )
    mean = [unit(anchor[t].sum(0)) for t in range(tasks)]
    losses = []
    for t in range(tasks):
        for n in range(images):
            near = 1 - anchor[t, n] @ mean[t]
            far = min(
                1 - anchor[t, n] @ mean[s] for s in range(tasks) if s != t
            )
            losses.append(max(0, near - far + margin))
    return np.mean(losses)


def test_akg_is_that_of_a_hand_computation():
    similarity = torch.rand(3, 2, 5, 4).double() * 2 - 1
    features = torch.randn(3, 2, 6).double() + torch.randn(3, 1, 6)
    loss = AKGLoss(margin=1.2)
    assert loss.embedding(similarity / 0.7).item() == pytest.approx(
        hand_tke(similarity.numpy(), 0.7)
    )
    expected = hand_tc(features.numpy(), 1.2)
    assert expected > 0
    assert loss.consistency(features).item() == pytest.approx(expected)


def test_tke_with_several_prototypes_a_task():
    """A task's own are the second pair of five for the second task."""
    logits = torch.rand(2, 3, 4, 5).double() * 4
    expected = []
    for task, image, place in np.ndindex(2, 3, 4):
        weight = np.exp(logits[task, image, place].numpy())
        own = weight[2 * task : 2 * task + 2].sum() / weight.sum()
        expected.append(-np.log(own))
    loss = AKGLoss(prototypes_per_task=2)
    assert loss.embedding(logits).item() == pytest.approx(np.mean(expected))
    enough = AKGLoss(prototypes_per_task=2, tke_enough=0.5)
    missing = [max(0, np.log(0.5) + value) for value in expected]
    assert 0 < sum(value > 0 for value in missing) < len(missing)
    assert enough.embedding(logits).item() == pytest.approx(np.mean(missing))


def test_tke_stops_where_it_has_enough():
    logits = torch.tensor([[[[2.0, 0.0], [0.3, 0.0]]]] * 2).double()
    logits = torch.stack([logits[0], logits[1].flip(-1)]).requires_grad_()
    own = logits.detach().softmax(-1)[0, 0, :, 0]
    assert own[0] > 0.7 > own[1]
    loss = AKGLoss(tke_enough=0.7)
    loss.embedding(logits).backward()
    assert not logits.grad[:, :, 0].any() and logits.grad[:, :, 1].all()
    assert torch.autograd.gradcheck(loss.embedding, logits)
    for value in (0, 1.1):
        with pytest.raises(ValueError, match=f'tke_enough={value}'):
            AKGLoss(tke_enough=value)
    with pytest.raises(ValueError, match='tke_weight=0'):
        AKGLoss(tke_enough=0.5, tke_weight=0)


def test_akg_gradients():
    loss = AKGLoss(margin=1.5)
    logits = torch.rand(3, 2, 4, 3).double().requires_grad_()
    features = torch.randn(3, 2, 5).double().requires_grad_()
    assert torch.autograd.gradcheck(loss.embedding, logits)
    assert torch.autograd.gradcheck(loss.consistency, features)


def test_akg_weights_and_a_single_task():
    logits, features = torch.randn(1, 2, 4, 1), torch.randn(1, 2, 5)
    assert AKGLoss()(logits, features) == dict(tke=0, tc=0)
    logits, features = torch.randn(2, 2, 4, 2), torch.randn(2, 2, 5)
    one, two = AKGLoss(2.0), AKGLoss(2.0, tke_weight=3, tc_weight=5)
    one, two = one(logits, features), two(logits, features)
    assert two['tke'] == pytest.approx(3 * one['tke'])
    assert two['tc'] == pytest.approx(5 * one['tc'])
    assert one['tc'] > 0


def test_reductions_by_hand():
    losses = torch.tensor([[2.0, 0, 0], [1, 3, 0], [0, 0, 0], [4, 0, 6]])
    labelled = torch.tensor(
        [[1, 0, 0], [1, 1, 0], [0, 0, 0], [1, 0, 1]]
    ).bool()
    expected = {
        'batch': [7 / 4, 3 / 4, 6 / 4],
        # T / T_i = 3, 3 / 2, -, 3 / 2; three images have a label
        'balanced': [(6 + 1.5 + 6) / 3, 4.5 / 3, 9 / 3],
        'per-task': [7 / 3, 3, 6],
    }
    for reduction, values in expected.items():
        got = reduce_over_labels(losses, labelled, reduction)
        assert torch.allclose(got, torch.tensor(values)), reduction
    none = reduce_over_labels(losses * 0, labelled & False, 'balanced')
    assert none.tolist() == [0, 0, 0]
    with pytest.raises(ValueError, match='reduction='):
        reduce_over_labels(losses, labelled, 'sum')


def test_balanced_full_labels_is_the_mean():
    losses = torch.rand(5, 3)
    got = reduce_over_labels(losses, torch.ones(5, 3).bool(), 'balanced')
    assert torch.allclose(got, losses.mean(0))

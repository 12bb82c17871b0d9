import numpy as np
import pytest
import torch

from mmprotomtl.models.layers import VectorQuantizer


def brute_force(rows, codes, cosine):
    rows, codes = rows.double().numpy(), codes.double().numpy()
    if cosine:
        rows = rows / np.linalg.norm(rows, axis=1, keepdims=True)
        codes = codes / np.linalg.norm(codes, axis=1, keepdims=True)
    distance = ((rows[:, None] - codes[None]) ** 2).sum(-1)
    return distance.argmin(1)


@pytest.mark.parametrize('distance', ['euclidean', 'cosine'])
@pytest.mark.parametrize('chunk_size', [7, 10**6])
def test_nearest_code_is_that_of_brute_force(distance, chunk_size):
    vq = VectorQuantizer(50, 8, distance=distance, chunk_size=chunk_size)
    feature = torch.randn(3, 8, 5, 6)
    found = vq(feature)
    rows = feature.movedim(1, -1).reshape(-1, 8)
    expected = brute_force(rows, vq.codes.detach(), distance == 'cosine')
    assert (found.indices.flatten().numpy() == expected).all()
    assert torch.equal(
        found.codes.movedim(1, -1), vq.codes.detach()[found.indices]
    )


def test_distances_are_float32_under_autocast():
    # Codes that bfloat16 cannot tell apart.
    vq = VectorQuantizer(2, 1)
    vq.codes.data = torch.tensor([[1.0], [1.001]])
    feature = torch.tensor([1.0009, 1.0001]).reshape(1, 1, 1, 2)
    with torch.autocast('cpu', torch.bfloat16):
        assert vq(feature).indices.tolist() == [[[1, 0]]]


def test_only_chosen_codes_get_a_gradient():
    vq = VectorQuantizer(20, 4)
    found = vq(torch.randn(1, 4, 2, 2))
    found.codes.square().sum().backward()
    chosen = vq.codes.grad.abs().sum(1) > 0
    assert chosen.nonzero().flatten().tolist() == sorted(
        set(found.indices.flatten().tolist())
    )


def test_ema_moves_codes_to_the_mean_of_what_chose_them():
    vq = VectorQuantizer(2, 1, update='ema', decay=0.5)
    vq.codes.copy_(torch.tensor([[0.0], [10.0]]))
    vq.code_sum.copy_(vq.codes)
    vq(torch.tensor([1.0, 3.0, 9.0, 9.0]).reshape(1, 1, 2, 2))
    # count = 0.5 * 1 + 0.5 * 2, sum = 0.5 * old + 0.5 * sum of the chosen
    assert torch.allclose(vq.codes, torch.tensor([[2 / 1.5], [14 / 1.5]]))
    vq.eval()
    before = vq.codes.clone()
    vq(torch.randn(1, 1, 2, 2))
    assert torch.equal(vq.codes, before)


def test_dead_codes_are_replaced_by_positions_of_the_batch():
    vq = VectorQuantizer(4, 2, replace_below=0.5, decay=0.1)
    vq.codes.data[1:] = 1e3
    feature = torch.randn(1, 2, 4, 4)
    for _ in range(2):
        vq(feature)
    rows = feature.movedim(1, -1).reshape(-1, 2)
    nearest = torch.cdist(vq.codes.detach()[1:], rows).amin(1)
    assert nearest.max() < 1e-5


def test_kmeans_start_uses_the_whole_codebook():
    feature = torch.randn(2, 3, 16, 16) * 0.1 + 5
    random, kmeans = (
        VectorQuantizer(32, 3, kmeans_steps=steps) for steps in (0, 5)
    )
    error = {}
    for name, vq in dict(random=random, kmeans=kmeans).items():
        codes = vq(feature).codes
        error[name] = (codes - feature).square().mean().item()
        vq.usage()
        vq(feature)
    assert error['kmeans'] < 0.1 * error['random']
    assert kmeans.usage()['usage'] > 0.9


def test_usage_is_that_of_a_count():
    vq = VectorQuantizer(8, 2)
    vq.codes.data = torch.arange(8.0).repeat_interleave(2).reshape(8, 2)
    feature = torch.tensor([0.0, 0, 0, 3]).expand(1, 2, 4).reshape(1, 2, 2, 2)
    vq(feature)
    usage = vq.usage()
    share = np.array([0.75, 0.25])
    assert usage['usage'] == 2 / 8
    assert usage['perplexity'] == pytest.approx(
        np.exp(-(share * np.log(share)).sum())
    )
    assert vq.usage() == dict(usage=0.0, perplexity=0.0)


def test_state_restores_the_random_choices():
    def run(vq, steps):
        for _ in range(steps):
            feature = torch.randn(
                1, 4, 4, 4, generator=torch.Generator().manual_seed(1)
            )
            vq(feature)

    # Most codes die at the second step, and again at the fifth and later.
    cfg = dict(
        num_codes=16, code_dim=4, update='ema', replace_below=0.5, decay=0.7
    )
    straight = VectorQuantizer(**cfg)
    resumed = VectorQuantizer(**cfg)
    resumed.load_state_dict(straight.state_dict())
    run(straight, 6)
    run(resumed, 3)
    again = VectorQuantizer(**cfg)
    again.load_state_dict(resumed.state_dict())
    run(again, 3)
    for key, value in straight.state_dict().items():
        assert torch.equal(value, again.state_dict()[key]), key
    assert int(straight.steps) == 6


@pytest.mark.parametrize('key', ['update', 'distance'])
def test_unknown_settings_are_named(key):
    with pytest.raises(ValueError, match=f"{key}='x'"):
        VectorQuantizer(4, 4, **{key: 'x'})

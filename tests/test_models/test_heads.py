import pytest
import torch
from torch.nn import functional as F

from mmprotomtl.testing import TASKS, scene_batch, tiny_model

SMALL = {name: TASKS[name] for name in ('semseg', 'normals', 'depth')}


@pytest.mark.parametrize('stride', [1, 2])
def test_each_pair_is_refined_by_what_it_retrieves_itself(stride):
    """f_tr = f_t + up(blocks(tokens, A V) - tokens), one pair at a time."""
    model = tiny_model(SMALL, neck=dict(token_stride=stride, temperature=0.1))
    model.eval()
    neck, head = model.neck, model.head
    for parameter in head.blocks.parameters():
        # Weights at which what is read matters.
        torch.nn.init.normal_(parameter, std=0.5)
    pairs = [[2, 0], [], [0, 1, 2]]
    with torch.no_grad():
        features = model.extract_feat(torch.randn(3, 3, 64, 64))
        refined = head.refine(features, pairs)
        affinity = features.extras['logits'].softmax(-1)
        for task, rows in enumerate(pairs):
            assert len(refined[task]) == len(rows)
            for place, image in enumerate(rows):
                own = features.features[task][image][None]
                pooled = F.avg_pool2d(own, stride)
                start = x = pooled.flatten(2).transpose(1, 2)
                memory = (affinity[task, image] @ neck.prototypes)[None]
                for block in head.blocks:
                    x = block(x, memory)
                added = (x - start).transpose(1, 2).reshape(pooled.shape)
                added = F.interpolate(added, own.shape[-2:], mode='bilinear')
                assert added.abs().max() > 0.1
                assert torch.allclose(
                    refined[task][place][None], own + added, atol=1e-4
                )


def by_hand(tokens, weight, bias, grid):
    """Tokens plus the depthwise 3 x 3 sum around each, one at a time."""
    height, width = grid
    result = tokens.clone()
    for y in range(height):
        for x in range(width):
            total = bias.clone()
            for dy in (-1, 0, 1):
                for dx in (-1, 0, 1):
                    if 0 <= y + dy < height and 0 <= x + dx < width:
                        near = tokens[:, (y + dy) * width + x + dx]
                        total = total + near * weight[:, 0, dy + 1, dx + 1]
            result[:, y * width + x] += total
    return result


def test_position_encoding_before_each_block():
    model = tiny_model(SMALL, head=dict(position_encoding='conv')).eval()
    head = model.head
    assert len(head.positions) == len(head.blocks) == 2
    pairs = [[1], [], [0, 1]]
    with torch.no_grad():
        features = model.extract_feat(torch.randn(2, 3, 64, 96))
        # It starts as the network without.
        plain = tiny_model(SMALL).eval()
        missing, _ = plain.load_state_dict(model.state_dict(), strict=False)
        assert not missing
        for a, b in zip(
            head.refine(features, pairs),
            plain.head.refine(features, pairs),
            strict=True,
        ):
            assert torch.equal(a, b)
        for parameter in head.parameters():
            torch.nn.init.normal_(parameter, std=0.5)
        refined = head.refine(features, pairs)
        retrieval = features.retrieval
        memory = retrieval.memory([[], [], [1]])
        start = x = retrieval.tokens[2][1:]
        for position, block in zip(head.positions, head.blocks, strict=True):
            conv = position.conv
            x = by_hand(x, conv.weight, conv.bias, retrieval.grid)
            x = block(x, memory)
        added = (x - start).transpose(1, 2).unflatten(2, retrieval.grid)
        own = features.features[2][1:]
        added = F.interpolate(added, own.shape[-2:], mode='bilinear')
        assert torch.allclose(refined[2][1:], own + added, atol=1e-4)


def test_position_encoding_learns_whatever_the_labels():
    for labelled in ([list(SMALL), ['depth']], [[], []]):
        model = tiny_model(SMALL, head=dict(position_encoding='conv')).train()
        batch = scene_batch(labelled, tasks=SMALL)
        losses = model.loss(**model.data_preprocessor(batch, True))
        model.parse_losses(losses)[0].backward()
        for name, parameter in model.head.positions.named_parameters():
            assert (parameter.grad != 0).any() == any(labelled), name


def test_what_a_head_without_blocks_does():
    model = tiny_model(SMALL, head=dict(num_blocks=0)).eval()
    features = model.extract_feat(torch.randn(2, 3, 64, 64))
    for task, refined in enumerate(model.head.refine(features, [[1]] * 3)):
        assert torch.equal(refined, features.features[task][1:])
    assert not model.head.reads_memory and tiny_model(SMALL).head.reads_memory
    with pytest.raises(ValueError, match='num_blocks=0'):
        tiny_model(SMALL, head=dict(num_blocks=0, position_encoding='conv'))
    with pytest.raises(ValueError, match="position_encoding='sine'"):
        tiny_model(SMALL, head=dict(position_encoding='sine'))
    for memory in (dict(type='TokenMemory'), dict(uniform=True)):
        for head in (dict(num_blocks=0), dict(type='MultiTaskHead')):
            with pytest.raises(ValueError, match='reads no memory'):
                tiny_model(SMALL, head=head, neck=dict(memory=memory))

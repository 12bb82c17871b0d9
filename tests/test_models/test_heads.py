import pytest
import torch
from torch.nn import functional as F

from mmprotomtl.testing import TASKS, tiny_model

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

import torch

from mmprotomtl.models.data_preprocessor import image_mask
from mmprotomtl.structures import MultiTaskDataSample
from mmprotomtl.testing import TASKS, scene_batch, tiny_model

ALL = list(TASKS)


def test_labels_are_padded_with_what_the_task_calls_unknown():
    model = tiny_model()
    batch = scene_batch([ALL, ALL[:2]], size=(24, 40))
    data = model.data_preprocessor(batch, training=True)
    assert data['inputs'].shape == (2, 3, 32, 64)
    for sample in data['data_samples']:
        assert sample.metainfo['padding_size'] == (0, 24, 0, 8)
        assert sample.metainfo['pad_shape'] == (32, 64)
        for name, label in sample.gt_maps.items():
            task = model.tasks[name]
            assert label.shape == (task.label_channels, 32, 64)
            assert (label[:, 24:] == task.invalid).all(), name
            assert (label[..., 40:] == task.invalid).all(), name
            assert not task.valid(label[None])[:, 24:].any(), name
    assert (data['inputs'][..., 24:, :] == 0).all()


def test_labels_keep_their_size_in_testing():
    model = tiny_model()
    data = model.data_preprocessor(scene_batch([ALL], size=(24, 40)), False)
    assert data['data_samples'][0].gt_maps.shape == (24, 40)
    assert data['data_samples'][0].metainfo['img_shape'] == (24, 40)


def test_images_are_normalised_rgb():
    model = tiny_model()
    image = torch.zeros(3, 32, 32, dtype=torch.uint8)
    image[0] = 255  # blue, in the BGR order of the pipeline
    data = model.data_preprocessor(dict(inputs=[image]))
    expected = torch.tensor(
        [-123.675 / 58.395, -116.28 / 57.12, (255 - 103.53) / 57.375]
    )
    assert torch.allclose(data['inputs'][0, :, 5, 5], expected)


def test_images_of_different_sizes_make_a_batch():
    model = tiny_model()
    batch = scene_batch([ALL], size=(24, 40))
    other = scene_batch([ALL], size=(40, 20))
    for key in batch:
        batch[key] += other[key]
    data = model.data_preprocessor(batch, training=True)
    assert data['inputs'].shape == (2, 3, 64, 64)
    losses = model(**data, mode='loss')
    assert all(torch.isfinite(loss) for loss in losses.values())


def test_the_mask_of_images_in_the_middle_of_their_padding():
    places = [(3, 2, 10, 20), (0, 0, 16, 24), (1, 4, 15, 20)]
    samples = [MultiTaskDataSample() for _ in range(4)]
    for sample, place in zip(samples, places, strict=False):
        sample.set_metainfo(dict(content_box=place))
    samples[3].set_metainfo(dict(img_shape=(5, 7)))
    mask = image_mask(torch.zeros(4, 3, 16, 24), samples)
    assert mask.shape == (4, 1, 16, 24)
    for row, (top, left, h, w) in zip(
        mask[:, 0], [*places, (0, 0, 5, 7)], strict=True
    ):
        y, x = torch.meshgrid(
            torch.arange(16), torch.arange(24), indexing='ij'
        )
        inside = (y >= top) & (y < top + h) & (x >= left) & (x < left + w)
        assert torch.equal(row, inside)
    assert image_mask(torch.zeros(2, 3, 4, 4), None).all()

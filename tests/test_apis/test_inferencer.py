import numpy as np
import pytest
import torch
from mmengine.config import Config
from mmengine.runner import Runner, save_checkpoint
from PIL import Image, ImageOps

from mmprotomtl.apis import MultiTaskInferencer
from mmprotomtl.registry import MODELS
from mmprotomtl.scenes.renderer import render
from mmprotomtl.testing import TASKS


@pytest.fixture(scope='module')
def trained(tiny_config, tmp_path_factory):
    """A config and a checkpoint with statistics of its own."""
    cfg = Config.fromfile(tiny_config)
    torch.manual_seed(3)
    model = MODELS.build(cfg.model)
    path = tmp_path_factory.mktemp('weights') / 'a.pth'
    meta = dict(cfg=cfg.pretty_text)
    save_checkpoint(dict(state_dict=model.state_dict(), meta=meta), str(path))
    return tiny_config, path


def test_predictions_are_those_of_the_test_loop(trained, tmp_path):
    config, weights = trained
    infer = MultiTaskInferencer(str(config), str(weights), 'cpu')
    cfg = Config.fromfile(config)
    cfg.work_dir = str(tmp_path)
    cfg.load_from = str(weights)
    cfg.custom_hooks.append(
        dict(type='SavePredictionsHook', out_dir=str(tmp_path / 'out'))
    )
    runner = Runner.from_cfg(cfg)
    runner.test()
    image = runner.test_dataloader.dataset.get_data_info(2)['image'].load()
    maps = infer(image, channel_order='rgb')['predictions'][0]
    assert list(maps) == sorted(TASKS)
    saved = np.load(tmp_path / 'out' / 'depth' / '2.npy')
    assert np.allclose(maps['depth'], saved, atol=1e-5)
    classes = np.asarray(Image.open(tmp_path / 'out/semseg/2.png'))
    assert np.array_equal(maps['semseg'][0], classes)


def test_files_folders_and_pictures(trained, tmp_path):
    _, weights = trained
    folder = tmp_path / 'photos'
    folder.mkdir()
    for i, size in enumerate([(40, 60), (50, 30)]):
        Image.fromarray(render(0, i, size).image).save(folder / f'{i}.png')
    # The config comes from the checkpoint.
    infer = MultiTaskInferencer(weights=str(weights), device='cpu')
    out = infer(str(folder), out_dir=str(tmp_path / 'out'))
    sizes = {m['normals'].shape for m in out['predictions']}
    assert sizes == {(3, 40, 60), (3, 50, 30)}
    assert len(list((tmp_path / 'out').glob('*.png'))) == 2
    (sample,) = infer(str(folder / '0.png'), return_datasamples=True)[
        'predictions'
    ]
    assert sample.metainfo['img_path'].endswith('0.png')


def test_a_checkpoint_alone_is_enough(tiny_config, tmp_path):
    """The config that a checkpoint stores has its keys sorted; the branches of
    the network still have to get their own weights.
    """
    cfg = Config.fromfile(tiny_config)
    tasks = dict(cfg.model.tasks)
    for order in (sorted(tasks), sorted(tasks, reverse=True)):
        cfg.model.tasks = {name: tasks[name] for name in order}
        model = MODELS.build(cfg.model).eval()
        path = str(tmp_path / 'a.pth')
        save_checkpoint(
            dict(
                state_dict=model.state_dict(), meta=dict(cfg=cfg.pretty_text)
            ),
            path,
        )
        infer = MultiTaskInferencer(weights=path, device='cpu')
        image = torch.randn(1, 3, 64, 64)
        expected = model(image, mode='predict')[0].pred_maps
        got = infer.model(image, mode='predict')[0].pred_maps
        for name in tasks:
            assert torch.equal(got.get(name), expected.get(name)), name


def test_a_missing_photo_is_named(trained):
    infer = MultiTaskInferencer(*map(str, trained), 'cpu')
    with pytest.raises(ValueError, match=r'none\.jpg: no such file'):
        infer('none.jpg')


@pytest.fixture(scope='module')
def infer(trained):
    return MultiTaskInferencer(*map(str, trained), 'cpu')


@pytest.mark.parametrize('turn', range(1, 9))
def test_a_turned_photograph(infer, tmp_path, turn):
    """It is predicted and drawn as Pillow shows it upright."""
    exif = Image.Exif()
    exif[0x0112] = turn
    path = tmp_path / 'photo.png'
    Image.fromarray(render(0, 3, (40, 60)).image).save(path, exif=exif)
    upright = np.asarray(ImageOps.exif_transpose(Image.open(path)))
    assert upright.shape[:2] == ((40, 60) if turn < 5 else (60, 40))
    found = infer(str(path))
    expected = infer(upright, channel_order='rgb')
    for name, value in expected['predictions'][0].items():
        assert value.shape[1:] == upright.shape[:2]
        assert np.array_equal(found['predictions'][0][name], value), name
    picture = found['visualization'][0]
    assert np.array_equal(picture, expected['visualization'][0])
    maps = dict(found['predictions'][0])
    sheet = infer.visualizer.sheet(upright, [('prediction', maps)])
    top, left, height, width = sheet.places['photo', '']
    factor = width // upright.shape[1]
    photo = picture[top : top + height, left : left + width]
    assert np.array_equal(photo[::factor, ::factor], upright)


def test_forms_of_one_image(infer, tmp_path):
    """Files and arrays of one image give the same, to the last bit."""
    image = render(0, 3, (40, 60)).image
    shares = image / 255
    Image.fromarray(image).save(tmp_path / 'a.png')
    np.save(tmp_path / 'b.npy', image)
    np.save(tmp_path / 'c.npy', shares)
    expected = infer(image, channel_order='rgb')
    for other in (
        shares, shares.astype(np.float32), (shares - 0.001).clip(0),
        str(tmp_path / 'a.png'), tmp_path / 'a.png',
        str(tmp_path / 'b.npy'), str(tmp_path / 'c.npy'),
    ):  # fmt: skip
        found = infer(other, channel_order='rgb')
        for name, value in expected['predictions'][0].items():
            assert np.array_equal(found['predictions'][0][name], value), name
        assert np.array_equal(
            found['visualization'][0], expected['visualization'][0]
        )


@pytest.mark.parametrize(
    ('image', 'told'),
    [
        (np.zeros((4, 5), np.uint8), r'array: shape \(4, 5\)'),
        (np.zeros((4, 5, 4), np.uint8), r'array: shape \(4, 5, 4\)'),
        (np.full((4, 5, 3), 7.0), 'array: values up to 7'),
        (np.full((4, 5, 3), -0.1), r'array: values outside 0 \.\. 1'),
    ],
)
def test_arrays_that_are_no_image(infer, image, told):
    with pytest.raises(ValueError, match=told):
        infer(image)

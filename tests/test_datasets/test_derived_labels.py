"""Labels that follow from visible ones: values, refusals, counts."""

import json

import cv2
import numpy as np
import pytest
import torch

from mmprotomtl.datasets import (
    CityscapesMTDataset,
    MultiTaskConcatDataset,
    NYUv2Dataset,
    SyntheticScenesDataset,
    check_dataset,
    format_report,
    label_facts,
)
from mmprotomtl.engine import load_config
from mmprotomtl.engine.task_check_hook import _check_given
from mmprotomtl.evaluation.delta import differing
from mmprotomtl.label_masks import LabelMask, write_label_mask
from mmprotomtl.registry import DATASETS
from mmprotomtl.scenes.builder import PERSON
from mmprotomtl.tasks import build_tasks
from mmprotomtl.utils.errors import DataFileError
from tests.conftest import ROOT

SIZE = (60, 80)
LOAD = [
    dict(type='LoadMultiTaskImage'),
    dict(type='LoadMultiTaskAnnotations'),
]
DEPTH_NORMALS = dict(depth={}, normals={})


@pytest.fixture
def masked(tmp_path):
    """Makes a data set in which images have the given labels."""

    def build(rows, cls=SyntheticScenesDataset, **kwargs):
        tasks = kwargs.setdefault('tasks', DEPTH_NORMALS)
        rows = {str(i): row for i, row in enumerate(rows)}
        path = tmp_path / f'{len(list(tmp_path.iterdir()))}.json'
        write_label_mask(path, LabelMask(rows, list(tasks), 'by hand'))
        if cls is SyntheticScenesDataset:
            kwargs = dict(dict(size=SIZE, num_scenes=len(rows)), **kwargs)
        return cls(
            pipeline=kwargs.pop('pipeline', LOAD),
            partial_labels=str(path), **kwargs,
        )  # fmt: skip

    return build


def angles(one, other):
    return np.degrees(np.arccos((one * other).sum(-1).clip(-1, 1)))


def nyuv2_tree(root, depth, number=1):
    """Images of one depth, in the form of MTAN, without further labels."""
    for i in range(number):
        for folder, array in dict(
            image=np.full((*depth.shape, 3), 0.5), depth=depth[..., None]
        ).items():
            (root / 'train' / folder).mkdir(parents=True, exist_ok=True)
            np.save(root / 'train' / folder / f'{i}.npy', array)
    return dict(cls=NYUv2Dataset, data_root=str(root))


def kinect_plane(normal, distance, size):
    """Depth of n x = -distance, seen by the published camera, pixel by pixel:
    a ray through the middle of each pixel of the 480 x 640 frame's view.
    """
    rows, cols = size
    depth = np.zeros(size)
    for row in range(rows):
        for col in range(cols):
            # The official numbers count pixels from 1.
            x = (col + 0.5) * 640 / cols + 0.5
            y = (row + 0.5) * 480 / rows + 0.5
            ray = np.array([(x - 325.58244941119034) / 518.85790117450188,
                            (y - 253.73616633400465) / 519.46961112127485,
                            1])  # fmt: skip
            depth[row, col] = -distance / (normal @ ray)
    return depth


@pytest.mark.parametrize('size', [(96, 128), (48, 64), (144, 192)])
def test_normals_of_a_plane_at_any_size(masked, tmp_path, size):
    """The camera is scaled with the files."""
    normal = np.array([0.3, -0.7, -0.6])
    normal /= np.linalg.norm(normal)
    depth = kinect_plane(normal, 1.4, size)
    assert depth.min() > 0
    data = masked([['depth']], derived_labels=True,
                  **nyuv2_tree(tmp_path / 'd', depth))  # fmt: skip
    label = data[0]['gt_maps']['normals']
    assert label.shape == (*size, 3) and label.dtype == np.float32
    assert np.abs(label - normal).max() < 1e-5


def test_normals_of_the_scenes_are_the_exact_ones(masked):
    """Curved surfaces and borders too; each scene has its own camera."""
    size = (96, 128)
    derived = masked([['depth']] * 6, derived_labels=['normals'], size=size)
    exact = masked([['normals']] * 6, size=size)
    errors, known = [], []
    for i in range(6):
        made = derived[i]['gt_maps']
        assert set(made) == {'depth', 'normals'}
        valid = made['normals'].any(-1)
        known.append(valid.mean())
        truth = exact[i]['gt_maps']['normals']
        errors.append(angles(made['normals'], truth)[valid])
    errors = np.concatenate(errors)
    assert np.median(errors) < 0.05
    assert (errors < 11.25).mean() > 0.88
    assert np.mean(known) > 0.85


def test_unknown_depth_gives_no_normal(masked, tmp_path):
    depth = kinect_plane(np.array([0, 0, -1.0]), 2, (48, 64))
    depth[10:30, 20:40] = 0
    # A step of more than half: no plane fits over it, one does beside it.
    depth[:, 50:] = 5
    data = masked([['depth']], derived_labels=True,
                  **nyuv2_tree(tmp_path / 'd', depth))  # fmt: skip
    label = data[0]['gt_maps']['normals']
    assert not label[10:30, 20:40].any()
    seen = label.any(-1)
    assert seen[:, 44:48].all() and seen[:, 52:].all()
    assert np.abs(label[seen] - [0, 0, -1]).max() < 1e-4


def test_a_visible_label_stays_as_it_is(masked):
    rows = [['depth'], ['depth', 'normals'], ['normals'], []]
    data = masked(rows, derived_labels=True)
    plain = masked(rows)
    for i, row in enumerate(rows):
        labels = data[i]['gt_maps']
        assert set(labels) == {*row, *(['normals'] if 'depth' in row else [])}
        for name, label in plain[i]['gt_maps'].items():
            assert np.array_equal(label, labels[name])


def test_nothing_is_derived_unless_asked(masked):
    data = masked([['depth']])
    assert set(data[0]['gt_maps']) == {'depth'}
    assert 'derived' not in label_facts(data)['labels_used']
    assert 'derived_labels' not in data.metainfo


def test_hidden_labels_are_not_asked_for(masked, monkeypatch):
    from mmprotomtl.datasets.synthetic_scenes import SceneFile

    asked, load = [], SceneFile.load

    def noted(self):
        asked.append((self.number, self.what))
        return load(self)

    monkeypatch.setattr(SceneFile, 'load', noted)
    data = masked([['depth'], ['normals'], []], derived_labels=True)
    for i in range(3):
        data[i]
    assert asked == [
        (0, 'image'), (0, 'depth'), (1, 'image'), (1, 'normal'), (2, 'image'),
    ]  # fmt: skip


def test_flip_and_crop_come_after(masked):
    """Mirroring a derived label is deriving from the mirrored depth, but for
    the position of the principal point.
    """
    flip = [*LOAD, dict(type='MultiTaskRandomFlip', prob=1.0)]
    rows = [['depth']]
    plain = masked(rows, derived_labels=True)[0]['gt_maps']['normals']
    flipped = masked(rows, derived_labels=True, pipeline=flip)
    label = flipped[0]['gt_maps']['normals']
    assert np.array_equal(label, plain[:, ::-1] * np.float32([-1, 1, 1]))
    crop = [*LOAD, dict(type='MultiTaskRandomCrop', crop_size=(20, 30))]
    cropped = masked(rows, derived_labels=True, pipeline=crop)
    np.random.seed(3)
    part = cropped[0]['gt_maps']['normals']
    windows = [
        (top, left)
        for top in range(SIZE[0] - 19)
        for left in range(SIZE[1] - 29)
        if np.array_equal(plain[top : top + 20, left : left + 30], part)
    ]
    assert len(windows) == 1


def test_depth_that_the_network_sees_enlarged_keeps_its_normals(masked):
    """A zoom divides depth by the factor. Deriving before it, the camera is
    still that of the file.
    """
    zoom = [*LOAD, dict(type='MultiTaskRandomScaleCrop', scales=(1.5,))]
    truth = masked([['normals']], pipeline=zoom)
    made = masked([['depth']], derived_labels=True, pipeline=zoom)
    labels = []
    for data in (truth, made):
        np.random.seed(5)
        labels.append(data[0]['gt_maps']['normals'])
    known = labels[1].any(-1)
    assert known.mean() > 0.8
    assert np.median(angles(*labels)[known]) < 1


def refused(match, **kwargs):
    kwargs = dict(derived_labels=True, lazy_init=True, **kwargs)
    kind = kwargs.pop('cls', SyntheticScenesDataset)
    with pytest.raises(ValueError, match=match):
        kind(**kwargs)


def test_what_cannot_follow_is_refused():
    unknown = dict(
        cls=DATASETS.get('ImageFolderMTDataset'),
        folders=dict(depth='d', normals='n'), tasks=DEPTH_NORMALS,
    )  # fmt: skip
    refused('from depth: missing is the intrinsics, `camera`', **unknown)
    refused('normals.*no task of the run implies it', tasks=dict(normals={}))
    tasks = dict(depth=dict(unit='disparity'), normals={})
    camera = dict(fx=1, fy=1, cx=0, cy=0, size=(4, 4))
    refused('from depth: missing is tasks.depth.unit is disparity, not metres',
            **dict(unknown, tasks=tasks, camera=camera))  # fmt: skip
    refused('CityscapesMTDataset: no label follows for depth .*, semseg',
            cls=CityscapesMTDataset)  # fmt: skip
    with pytest.raises(ValueError, match="names 'sal'.*none of the tasks"):
        SyntheticScenesDataset(
            tasks=DEPTH_NORMALS, derived_labels=['sal'], lazy_init=True
        )
    with pytest.raises(ValueError, match='depth .no task.* implies it'):
        SyntheticScenesDataset(
            tasks=DEPTH_NORMALS, derived_labels=['normals', 'depth'],
            lazy_init=True,
        )  # fmt: skip
    with pytest.raises(ValueError, match='choose True, False or a list'):
        SyntheticScenesDataset(derived_labels=3, lazy_init=True)


@pytest.mark.parametrize('change', [
    dict(fx=0), dict(size=None), dict(size=(3,)), dict(zoom=1),
])  # fmt: skip
def test_a_camera_that_is_none(change):
    camera = dict(fx=1.0, fy=1.0, cx=0.0, cy=0.0, size=(4, 4))
    refused('camera=.*give dict', camera={**camera, **change})


def test_a_camera_of_other_proportions(masked, tmp_path):
    """Files that were cut do not get the camera of the whole frame."""
    tree = nyuv2_tree(tmp_path / 'd', np.ones((40, 64)))
    data = masked([['depth']], derived_labels=True, **tree)
    with pytest.raises(DataFileError, match='0.npy: .*480 x 640.*40 x 64'):
        data[0]
    camera = dict(fx=60, fy=60, cx=31.5, cy=19.5, size=(40, 64))
    data = masked([['depth']], derived_labels=True, camera=camera, **tree)
    normals = data[0]['gt_maps']['normals']
    assert np.allclose(normals[normals.any(-1)], [0, 0, -1], atol=1e-5)


def test_files_that_the_converter_cut(masked, tmp_path):
    """Its record says which part of the frame is seen."""
    tree = nyuv2_tree(tmp_path / 'd', np.ones((8, 8)))
    crop = dict(crop=[45, 471, 41, 601], size=[288, 384])
    record = tmp_path / 'd' / 'conversion.json'
    record.write_text(json.dumps(crop))
    camera = masked([['depth']], derived_labels=True, **tree).camera_of('0')
    assert camera.size == (426, 560)
    assert camera.cx == pytest.approx(325.58244941119034 - 1 - 41)
    assert camera.cy == pytest.approx(253.73616633400465 - 1 - 45)
    assert camera.at((213, 280)).fx == pytest.approx(518.85790117450188 / 2)
    record.write_text('{}')
    with pytest.raises(DataFileError, match="conversion.json: .*'crop'"):
        masked([['depth']], derived_labels=True, **tree).camera_of('0')


@pytest.mark.parametrize('loader', ['val', 'test'])
def test_scores_on_derived_labels_are_refused(loader):
    config = ROOT / (
        'configs/protomtl/protomtl_r18_1xb8-20e_nyuv2-96x128-onelabel.py'
    )
    key = f'{loader}_dataloader.dataset.derived_labels'
    with pytest.raises(ValueError, match=f'{key} is not allowed'):
        load_config(config, {key: True})
    train = 'train_dataloader.dataset.derived_labels'
    cfg = load_config(config, {train: ['normals']})
    assert cfg.train_dataloader.dataset.derived_labels == ['normals']


def test_data_sets_that_are_objects_are_refused_too(masked):
    """No config says it; the hook asks them before they are scored."""
    data = masked([['depth']], derived_labels=True)
    whole = MultiTaskConcatDataset([masked([['depth']]), data])
    place = 'val_dataloader.dataset.datasets.1.derived_labels'
    with pytest.raises(ValueError, match=f'{place} is not allowed'):
        _check_given(whole, 'val_dataloader')
    _check_given(masked([['depth']]), 'val_dataloader')


def test_the_numbers(masked):
    """Derived labels are counted apart, through wrappers, and compared."""
    rows = [['depth'], ['depth', 'normals'], ['depth'], ['normals'], []]
    data = masked(rows, derived_labels=True)
    plain = label_facts(masked(rows))['labels_used']
    used = label_facts(data)['labels_used']
    assert used == dict(plain, derived=dict(normals=2))
    assert used['labels'] == dict(depth=3, normals=2)
    both = MultiTaskConcatDataset([data, masked(rows[:1])])
    assert label_facts(both)['labels_used']['derived'] == dict(normals=2)
    assert differing(dict(labels_used=used), dict(labels_used=plain)) == {
        'label_mask.derived.normals': (2, 0)
    }
    facts = dict(data.metainfo)
    assert facts['derived_labels'] == dict(normals=['depth'])


def test_the_report_of_a_check(masked):
    rows = [['depth'], ['depth'], []]
    data = masked(rows, derived_labels=True)
    cfg = dict(
        type='SyntheticScenesDataset', size=SIZE, num_scenes=3,
        tasks=DEPTH_NORMALS, derived_labels=True,
        partial_labels=str(data.partial_labels.mask_file),
    )  # fmt: skip
    report = check_dataset(cfg, workers=1)
    assert report['derived'] == dict(normals=2)
    # No label of normals is left, and yet a run has some.
    assert report['warnings'] == report['errors'] == []
    text = format_report(dict(report, loader='train', part=''))
    assert 'derived from the labels used: normals 2' in text
    cfg['derived_labels'] = False
    (doubt,) = check_dataset(cfg, workers=1)['warnings']
    assert 'hides all labels of normals' in doubt['problem']


EVERYTHING = dict(
    edge=dict(class_boundaries=True),
    semseg={},
    human_parts=dict(learn_background=True),
)


def test_edges_of_a_label_of_classes(masked):
    """Those of the rule of NYUD-v2, pixel by pixel; unknown beside pixels
    without a class, unless another neighbour shows an edge.
    """
    label = np.array([
        [1, 1, 2, 2],
        [1, 1, 2, 255],
        [3, 1, 255, 2],
        [3, 3, 3, 3],
    ])  # fmt: skip
    expected = np.array([
        [0, 1, 0, 255],
        [1, 1, 255, 255],
        [1, 1, 255, 1],
        [0, 0, 0, 0],
    ])  # fmt: skip
    task = build_tasks(dict(semseg=dict(num_classes=4)))['semseg']
    assert np.array_equal(task.imply('boundaries', label, None), expected)
    data = masked([['semseg']] * 4, tasks=EVERYTHING, derived_labels=['edge'])
    for i in range(4):
        made = data[i]['gt_maps']
        assert set(made) == {'semseg', 'edge'}
        classes = made['semseg'].astype(int)
        for y in range(0, SIZE[0] - 1, 7):
            for x in range(SIZE[1] - 1):
                own = classes[y, x]
                other = own != classes[y, x + 1] or own != classes[y + 1, x]
                assert made['edge'][y, x] == other
        assert made['edge'].any()


@pytest.mark.parametrize('folder', ['segmentation40', 'segmentation13'])
def test_edges_of_the_real_set(shared_data, folder):
    """Those that come with NYUD-v2 are the boundaries of its 40 classes. Of 13
    classes follow no others than these, and nearly all.
    """
    root = shared_data / 'nyud_v2'
    frames = (root / 'gt_sets/train.txt').read_text().split()[::160]
    task = build_tasks(dict(semseg=dict(num_classes=41)))['semseg']
    found = missed = 0
    for frame in frames:
        label = cv2.imread(str(root / folder / f'{frame}.png'), 0)
        label[label == 0] = 255
        truth = cv2.imread(str(root / 'edge' / f'{frame}.png'), 0) > 0
        edges = task.imply('boundaries', label, None)
        assert truth[edges == 1].all()
        assert (edges != 255).mean() > 0.6
        found += (edges == 1).sum()
        missed += truth[edges == 0].sum()
    if folder.endswith('40'):
        assert missed == 0
    else:
        assert 0 < missed < 0.06 * found


def test_parts_where_nobody_is(masked):
    """Background, and unlabelled where somebody is: never a part."""
    data = masked([['semseg']] * 8, tasks=EVERYTHING,
                  derived_labels=['human_parts'])  # fmt: skip
    seen = set()
    for i in range(8):
        made = data[i]['gt_maps']
        person = made['semseg'] == PERSON
        assert (made['human_parts'] == np.where(person, 255, 0)).all()
        seen.add(bool(person.any()))
    assert seen == {True, False}


def test_background_is_learnt_but_not_scored():
    parts = [
        build_tasks(dict(human_parts=dict(learn_background=on)))['human_parts']
        for on in (True, False)
    ]
    label = torch.zeros(2, 1, 4, 4, dtype=torch.uint8)
    label[:, :, :2] = 255
    label[1, 0, 3, 3] = 2
    logits = torch.randn(2, 7, 4, 4)
    (loss, count), (old, before) = (p.loss(logits, label) for p in parts)
    assert count.tolist() == [8, 8] and before.tolist() == [0, 8]
    by_hand = -logits[0, :, 2:].log_softmax(0)[0].mean()
    assert loss[0].item() == pytest.approx(by_hand.item(), rel=1e-5)
    assert loss[1].item() == old[1].item() and old[0] == 0
    assert torch.equal(parts[0].valid(label), parts[1].valid(label))


def test_what_is_missing_for_edges_and_parts():
    tasks = dict(semseg={}, human_parts={})
    refused('human_parts .missing is tasks.human_parts.learn_background=True',
            tasks=tasks)  # fmt: skip
    refused('human_parts .from semseg: missing is a class person or',
            cls=DATASETS.get('ImageFolderMTDataset'),
            folders=dict(semseg='s', human_parts='p'),
            tasks=dict(semseg=dict(num_classes=3),
                       human_parts=dict(learn_background=True)))  # fmt: skip
    # Parts show no objects' boundaries.
    edges = dict(edge=dict(class_boundaries=True), human_parts={})
    refused('edge .no task of the run', tasks=edges)
    refused('edge .missing is tasks.edge.class_boundaries=True',
            tasks=dict(edge={}, semseg={}))  # fmt: skip
    both = SyntheticScenesDataset(
        tasks={**EVERYTHING, **DEPTH_NORMALS}, derived_labels=True,
        lazy_init=True,
    )  # fmt: skip
    assert both.derived_from == dict(
        edge=['semseg'], human_parts=['semseg'], normals=['depth']
    )

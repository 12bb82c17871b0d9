import json
import runpy
import sys

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.io import savemat

from mmprotomtl.boundary import count, scores
from mmprotomtl.evaluation import MultiTaskMetric
from tests.conftest import ROOT
from tests.test_readers.test_bounds import png

TOOL = 'tools/analysis_tools/eval_edges.py'


@pytest.fixture
def folders(tmp_path):
    pred, truth = tmp_path / 'pred', tmp_path / 'gt'
    pred.mkdir()
    truth.mkdir()
    rng = np.random.default_rng(0)
    expected = 0
    for i in range(4):
        line = np.zeros((40, 50), bool)
        line[8 + i, 5:45] = True
        prob = (rng.random((40, 50)) * 90).astype(np.uint8)
        prob[9 + i, 5:40] = 150 + 20 * i
        Image.fromarray(prob).save(pred / f'{i}.png')
        truths = [line]
        if i == 3:
            truths = [line, np.roll(line, 6, 0)]
            cells = np.empty((1, 2), object)
            for k, mask in enumerate(truths):
                cells[0, k] = dict(Boundaries=mask.astype(np.uint8))
            savemat(truth / f'{i}.mat', dict(groundTruth=cells))
        else:
            Image.fromarray(line.astype(np.uint8) * 255).save(
                truth / f'{i}.png'
            )
        expected = expected + count(prob / 255, truths, 0.02, 9)
    return pred, truth, expected


def test_scores_and_counts(tool, folders, tmp_path):
    pred, truth, expected = folders
    out = tmp_path / 'new' / 'metrics.json'
    options = ['--thresholds', 9, '--max-dist', 0.02, '--out', out]
    tool(TOOL, pred, truth, '--workers', 2, *options)
    got = json.loads(out.read_text())
    assert {key: got[key] for key in ('ODS', 'OIS', 'AP')} == scores(expected)
    for i, key in enumerate(('cntP', 'sumP', 'cntR', 'sumR')):
        assert got[key] == expected[:-1, i].tolist()
    assert got['images'] == 4

    # A preset, and a list of images, as the evaluator has them.
    ids = tmp_path / 'ids.txt'
    ids.write_text('0\n2\n')
    tool(TOOL, pred, truth, '--protocol', 'astmt', '--list', ids, *options)
    got = json.loads(out.read_text())
    assert (got['images'], got['nms'], got['protocol']) == (2, True, 'astmt')
    assert got['sumR'] == [80] * 9
    edge = dict(max_dist=0.02, num_thresholds=9, protocol='astmt')
    metric = MultiTaskMetric(
        tasks=dict(edge=edge), image_lists=dict(edge=str(ids))
    )
    for i in range(3):
        maps = [
            torch.from_numpy(np.asarray(Image.open(folder / f'{i}.png')) / 255)
            for folder in (pred, truth)
        ]
        sample = dict(
            sample_id=str(i),
            pred_maps=dict(edge=maps[0][None]),
            gt_maps=dict(edge=maps[1][None]),
        )
        metric.process(None, [sample])
    assert metric.evaluate(3) == {
        'edge/odsF': 100 * got['ODS'],
        'edge/oisF': 100 * got['OIS'],
        'edge/AP': 100 * got['AP'],
    }


@pytest.mark.parametrize(
    ('options', 'expected'),
    [
        ([], (99, False)),
        (['--protocol', 'astmt'], (99, True)),
        (['--protocol', 'mtinet'], (99, False)),
        (['--protocol', 'invpt'], (101, True)),
        (['--protocol', 'invpt', '--no-nms'], (101, False)),
        (['--nms', '--thresholds', '5'], (5, True)),
    ],
)
def test_presets(monkeypatch, options, expected):
    parse_args = runpy.run_path(str(ROOT / TOOL))['parse_args']
    monkeypatch.setattr(sys, 'argv', ['eval_edges.py', 'a', 'b', *options])
    args = parse_args()
    assert (args.thresholds, args.nms) == expected


def test_what_is_wrong_is_said_in_a_line(tool, folders):
    pred, truth, _ = folders
    (truth / '1.png').unlink()
    (pred / '0.png').unlink()
    done = tool(TOOL, pred, truth, check=False)
    assert done.returncode == 1
    assert '1.png' in done.stdout.splitlines()[-1]
    assert 'warning: 1 of 3 images' in done.stdout
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(truth / '1.png')
    done = tool(TOOL, pred, truth, '--workers', 2, check=False)
    assert done.returncode == 1
    assert '(3, 4)' in done.stdout.splitlines()[-1]


def test_pictures_are_read_as_data_sets_read_them(folders):
    """By what they show: fewer bits, palettes, orientation; what cannot be
    told is refused.
    """
    pred, truth, _ = folders
    tool = runpy.run_path(str(ROOT / TOOL))
    truths, level = tool['read_truths'], tool['read_map']
    (line,) = truths(truth, '0')
    picture = Image.fromarray(line.astype(np.uint8) * 255)
    forms = dict(
        bit=lambda path: picture.convert('1').save(path),
        # Black comes last in this palette.
        swapped=lambda path: swapped(line).save(path),
        turned=lambda path: turned(picture, path),
    )
    for name, write in forms.items():
        write(truth / f'{name}.png')
        (found,) = truths(truth, name)
        assert np.array_equal(found, line), name
    Image.fromarray(np.zeros((4, 5, 3), np.uint8)).save(pred / 'rgb.png')
    with pytest.raises(
        ValueError, match=r'rgb\.png: shape \(4, 5, 3\); an edg'
    ):
        level(pred / 'rgb.png')
    alpha = np.full((4, 5, 2), 90, np.uint8)
    Image.fromarray(alpha, 'LA').save(pred / 'alpha.png')
    with pytest.raises(ValueError, match=r'alpha\.png: 20 transparent'):
        level(pred / 'alpha.png')
    picture.save(pred / 'lossy.png', 'JPEG')
    with pytest.raises(ValueError, match=r'lossy\.png: is compressed by JPEG'):
        level(pred / 'lossy.png')
    (pred / 'cut.png').write_bytes((pred / '0.png').read_bytes()[:80])
    with pytest.raises(ValueError, match=r'cut\.png: cannot be read'):
        level(pred / 'cut.png')
    with pytest.raises(ValueError, match=r'none\.png: no such file'):
        level(pred / 'none.png')
    savemat(truth / 'x.mat', dict(other=np.zeros((4, 5))))
    with pytest.raises(ValueError, match=r'x\.mat: .*groundTruth'):
        truths(truth, 'x')


@pytest.mark.parametrize('which', ['pred', 'gt'])
def test_a_picture_that_claims_100_million_pixels(folders, which, monkeypatch):
    """Ends the tool with one line, before memory is taken."""
    pred, truth, _ = folders
    path = dict(pred=pred, gt=truth)[which] / '1.png'
    png(path, 10**4, 10**4)
    argv = ['eval_edges.py', str(pred), str(truth), '--workers', '1']
    monkeypatch.setattr(sys, 'argv', argv)
    with pytest.raises(SystemExit) as error:
        runpy.run_path(str(ROOT / TOOL), run_name='__main__')
    text = error.value.code
    assert text.startswith(f'{path}: 10000 x 10000 pixels; 100000000 and more')
    assert len(text.splitlines()) == 1


def swapped(line):
    picture = Image.fromarray(1 - line.astype(np.uint8), 'P')
    picture.putpalette([255] * 3 + [0] * 3)
    return picture


def turned(picture, path):
    """Stored on its head; the metadata says so."""
    exif = Image.Exif()
    exif[0x0112] = 3
    picture.transpose(Image.Transpose.ROTATE_180).save(path, exif=exif)

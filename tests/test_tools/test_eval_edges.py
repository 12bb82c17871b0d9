import json

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from mmprotomtl.evaluation.boundary import count, scores

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

    (tmp_path / 'ids.txt').write_text('0\n2\n')
    tool(TOOL, pred, truth, '--nms', '--list', tmp_path / 'ids.txt', *options)
    got = json.loads(out.read_text())
    assert (got['images'], got['nms']) == (2, True)
    assert got['sumR'] == [80] * 9


def test_what_is_wrong_is_said_in_a_line(tool, folders):
    pred, truth, _ = folders
    (truth / '1.png').unlink()
    done = tool(TOOL, pred, truth, check=False)
    assert done.returncode == 1
    assert '1.png' in done.stdout.splitlines()[-1]
    Image.fromarray(np.zeros((3, 4), np.uint8)).save(truth / '1.png')
    done = tool(TOOL, pred, truth, '--workers', 2, check=False)
    assert done.returncode == 1
    assert '(3, 4)' in done.stdout.splitlines()[-1]

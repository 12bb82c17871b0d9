"""delta_m, and whether a result may be compared with a reference."""

import json
import math
from types import SimpleNamespace

import pytest

from mmprotomtl.evaluation import Reference, differing, read_report
from mmprotomtl.utils.errors import DataFileError

TASKS = dict(
    semseg=SimpleNamespace(standing_metric='mIoU', higher_is_better=True),
    depth=SimpleNamespace(standing_metric='RMSE', higher_is_better=False),
)
DATA = dict(type='NYUv2Dataset', split='val', images=654, ids='ab12')


def report(metrics, **facts):
    mask = dict(protocol='one-label', sha256='77')
    base = dict(
        metrics=metrics, test_data=DATA, label_mask=mask, seed=1,
        protocol='default', scoring=dict(depth=dict(measures=[('a', 1)])),
    )  # fmt: skip
    return {**base, **facts}


@pytest.fixture
def write(tmp_path):
    def write(name, value):
        file = tmp_path / name
        file.write_text(json.dumps(value))
        return str(file)

    return write


def test_the_mean_of_signed_relative_changes(write):
    one = write('s.json', report({'semseg/mIoU': 40.0, 'depth/absErr': 9}))
    two = write('d.json', report({'depth/RMSE': 0.5}))
    scores = {'semseg/mIoU': 42.0, 'depth/RMSE': 0.6, 'depth/absErr': 1}
    # 5 % better and 20 % worse.
    for files in ([one, two], dict(semseg=one, depth=two)):
        assert Reference(files).delta_m(scores, TASKS) == pytest.approx(-7.5)
    both = write('b.json', report({'semseg/mIoU': 40.0, 'depth/RMSE': -0.5}))
    # Relative to the size of a negative reference.
    for files in (both, [both], [both, both]):
        found = Reference(files).delta_m(scores, TASKS)
        assert found == pytest.approx((5 - 100 * 1.1 / 0.5) / 2)


def test_a_task_without_a_score(write):
    both = write('b.json', report({'semseg/mIoU': 40.0, 'depth/RMSE': 0.5}))
    scores = {'semseg/mIoU': 42.0, 'depth/RMSE': None}
    assert math.isnan(Reference(both).delta_m(scores, TASKS))


def test_a_value_that_is_missing_twice_there_or_zero(write):
    one = write('1.json', report({'semseg/mIoU': 40.0, 'depth/RMSE': None}))
    two = write('2.json', report({'semseg/mIoU': 41.0, 'depth/RMSE': 0}))
    reference = Reference([one, two])
    with pytest.raises(ValueError, match=r'2 of .*semseg/mIoU'):
        reference.value('semseg', 'mIoU')
    with pytest.raises(ValueError, match=r'0 of .*semseg/pixAcc'):
        reference.value('semseg', 'pixAcc')
    with pytest.raises(ValueError, match=r'2\.json has depth/RMSE = 0'):
        reference.value('depth', 'RMSE')
    # Whose file is named has no rival.
    named = Reference(dict(semseg=two, depth=one))
    assert named.value('semseg', 'mIoU') == 41
    with pytest.raises(ValueError, match='0 of'):
        named.value('depth', 'RMSE')


@pytest.mark.parametrize(
    'content', ['[]', '{}', '{"metrics": [1]}', '[{"metrics": {}}]', '{"met']
)
def test_files_that_are_no_report(tmp_path, content):
    file = tmp_path / 'm.json'
    file.write_text(content)
    with pytest.raises(DataFileError, match=r'm\.json'):
        read_report(file)
    with pytest.raises(DataFileError, match='no such file'):
        read_report(tmp_path / 'other.json')


@pytest.mark.parametrize(
    ('key', 'change'),
    [
        ('seed', dict(seed=2)),
        ('protocol', dict(protocol='invpt')),
        ('test_data.type', dict(test_data=dict(DATA, type='X'))),
        ('test_data.split', dict(test_data=dict(DATA, split='train'))),
        ('test_data.holdout', dict(test_data=dict(DATA, holdout='a'))),
        ('test_data.images', dict(test_data=dict(DATA, images=1))),
        ('test_data.ids', dict(test_data=dict(DATA, ids='cd'))),
        ('label_mask.sha256', dict(label_mask=None)),
        (
            'label_mask.sha256',
            dict(label_mask=dict(protocol='one-label', sha256='78')),
        ),
        ('scoring.depth', dict(scoring=dict(depth=dict(measures=[])))),
    ],
)
def test_results_that_may_not_be_compared(write, key, change):
    first, second = report({}), report({}, **change)
    ((found, values),) = differing(first, second).items()
    assert found == key and values[0] != values[1]
    skipped = differing(first, second, skip=[key.split('.')[0]])
    assert skipped == {}
    reference = Reference(write('r.json', first))
    reference.check(first)
    with pytest.raises(ValueError, match=rf'r\.json .*its {key} is'):
        reference.check(second)


def test_results_that_may_be_compared():
    """Full labels are full labels, and other tasks' scoring does not count."""
    full = dict(protocol='full', sha256='1')
    one = report({}, label_mask=full)
    assert differing(one, report({}, label_mask=None)) == {}
    assert differing(one, report({}, label_mask=dict(full, sha256='2'))) == {}
    assert differing(report({}), report({}, scoring=dict(sal='x'))) == {}
    # As JSON has it, which knows no tuples.
    stored = json.loads(json.dumps(report({})))
    assert differing(report({}), stored) == {}

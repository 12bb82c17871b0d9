"""The table over runs, and delta_m from the command line."""

import csv
import io
import json
import runpy
import sys

import numpy as np
import pytest

from mmprotomtl.evaluation import paired
from tests.conftest import ROOT

COMPARE = ROOT / 'tools/analysis_tools/compare.py'
TASKS = dict(
    semseg=dict(metric='mIoU', higher=True),
    depth=dict(metric='RMSE', higher=False),
)


def report(config, seed, semseg=None, depth=None, **kwargs):
    metrics = {
        'semseg/mIoU': semseg,
        'semseg/pixAcc': 1.0,
        'depth/RMSE': depth,
    }
    tasks = {
        name: task
        for name, task in TASKS.items()
        if metrics[f'{name}/{task["metric"]}'] is not None
    }
    return dict(
        dict(
            metrics=metrics,
            tasks=tasks,
            config=f'configs/x/{config}.py',
            epoch=20,
            seed=seed,
            label_mask=dict(protocol='one-label', sha256='abcdef0123456789'),
            test_data=dict(type='Scenes', split='test', images=7),
            selection=dict(checkpoint='last'),
        ),
        **kwargs,
    )


@pytest.fixture
def compare(monkeypatch, capsys):
    def run(*args):
        monkeypatch.setattr(sys, 'argv', [str(a) for a in (COMPARE, *args)])
        runpy.run_path(str(COMPARE), run_name='__main__')
        return capsys.readouterr().out

    return run


@pytest.fixture
def write(tmp_path):
    def run(name, *args, **kwargs):
        folder = tmp_path / name
        folder.mkdir()
        file = folder / 'metrics.json'
        file.write_text(json.dumps(report(*args, **kwargs)))
        return file

    return run


@pytest.fixture
def runs(write):
    return [
        write('a0', 'ours', 0, 40.0, 0.5).parent,
        write('a1', 'ours', 1, 44.0, 0.7),
        write('b0', 'base', 0, 41.0, 0.4),
        write('b1', 'base', 1, 41.0, 0.5),
    ]


@pytest.fixture
def reference(write):
    return [
        write('s0', 'stl-s', 0, semseg=50.0),
        write('s1', 'stl-s', 1, semseg=40.0),
        write('d0', 'stl-d', 0, depth=0.4),
        write('d1', 'stl-d', 1, depth=0.5),
    ]


def test_mean_spread_and_delta(compare, runs, reference):
    text = compare(*runs, '--reference', *reference, '--format', 'csv')
    ours, base = csv.DictReader(io.StringIO(text))
    assert (ours['method'], ours['seeds']) == ('ours', '2')
    assert ours['mask'] == 'abcdef01'
    assert ours['checkpoint'] == 'last'
    assert float(ours['semseg/mIoU']) == 42
    assert float(ours['semseg/mIoU std']) == pytest.approx(np.sqrt(8))
    # Seed 0: -20 % and -25 %; seed 1: +10 % and -40 %.
    assert float(ours['delta_m']) == pytest.approx((-22.5 - 15) / 2)
    # Seed 0: -18 % and 0; seed 1: +2.5 % and 0.
    assert float(base['delta_m']) == pytest.approx((-9 + 1.25) / 2)
    assert 'semseg/pixAcc' not in ours
    # Whose relative change it is, in every format.
    assert (
        ours['delta_m reference'] == 'stl-s (semseg only), stl-d (depth only)'
    )
    for form in ('markdown', 'latex'):
        text = compare(*runs, '--reference', *reference, '--format', form)
        assert 'delta_m in percent, against stl-s (semseg only)' in text


def test_the_delta_that_runs_have(compare, write):
    stl = str(write('s', 'stl-s', 0, semseg=50.0))
    run = report('ours', 0, 40.0, 0.5)['metrics']
    one = write(
        'a', 'ours', 0, metrics={**run, 'delta_m': -20.0}, reference=[stl],
        tasks=TASKS,
    )  # fmt: skip
    text = compare(one)
    assert '**-20.00**' in text
    assert text.endswith('delta_m in percent, against stl-s (semseg only).\n')
    assert 'delta_m' not in compare(write('b', 'ours', 1, 40.0, 0.5))


def test_other_inference_is_another_row(compare, runs, write):
    tta = dict(mode='whole', tta=dict(flip=True))
    text = compare(*runs, write('t', 'ours', 0, 45.0, 0.4, inference=tta))
    assert '| ours (tta) | one-label | abcdef01 | last | 1 | **45.00**' in text
    zeros = dict(mode='whole', memory='zeros')
    text = compare(*runs, write('z', 'ours', 0, 45.0, 0.4, inference=zeros))
    assert '| ours (memory: zeros) | one-label | abcdef01 | last | 1 |' in text


def test_labels_are_named(compare, write):
    for mask, named in (
        (dict(protocol='file', source='data/x/onelabel.pth'), 'onelabel.pth'),
        (dict(protocol='ratio', options=dict(ratio=0.5)), 'ratio ratio=0.5'),
        (dict(protocol='full'), 'full'),
    ):
        mask['sha256'] = '0123456789'
        run = write(named, 'ours', 0, 40.0, 0.5, label_mask=mask)
        assert f'| ours | {named} | 01234567 | last |' in compare(run)
    run = write('none', 'ours', 0, 40.0, 0.5, label_mask=None)
    assert '| ours | full | - | last | 1 |' in compare(run)


def test_the_checkpoint_and_what_it_was_chosen_on(compare, write):
    best = dict(checkpoint='best', metric='semseg/mIoU', on='test')
    runs = [
        write('a', 'ours', 0, 40.0, 0.5, selection=best),
        write('b', 'ours', 0, 40.0, 0.5, selection=dict(best, on='val')),
        write('c', 'ours', 0, 40.0, 0.5, selection=dict(checkpoint='epoch 7')),
        write('d', 'ours', 0, 40.0, 0.5, selection={}),
    ]
    lines = compare(*runs).splitlines()[2:]
    assert [line.split(' | ')[3] for line in lines] == [
        'best semseg/mIoU on test', 'best semseg/mIoU on val', 'epoch 7',
        'epoch 20',
    ]  # fmt: skip


def test_the_best_is_bold(compare, runs, tmp_path):
    compare(*runs, '--out', tmp_path / 'table.md')
    text = (tmp_path / 'table.md').read_text()
    ours, base = text.splitlines()[2:]
    assert '**42.00 ± 2.83**' in ours
    assert '| 0.6000 ± 0.1414 |' in ours
    assert '**0.4500 ± 0.0707**' in base
    assert 'delta_m' not in text
    text = compare(*runs, '--format', 'latex')
    assert r'$\mathbf{42.00 \pm 2.83}$' in text


def test_what_does_not_belong_together_is_refused(compare, runs, write):
    def refused(*args):
        with pytest.raises(SystemExit) as stopped:
            compare(*args)
        return stopped.value.code

    other = write('c', 'ours', 3, 1.0, test_data=dict(split='val', images=7))
    assert 'test_data.' in refused(*runs, other)
    other = write('g', 'ours', 3, 1.0, protocol='invpt')
    assert "its protocol is 'invpt', not None" in refused(*runs, other)
    how = dict(depth=dict(measures=[], image_list=None))
    one = write('h', 'ours', 3, 1.0, 1.0, scoring=how)
    how = dict(
        depth=dict(measures=[], image_list='f00'),
        edge=dict(measures=[], image_list=None),
    )
    other = write('i', 'ours', 4, 1.0, 1.0, scoring=how)
    assert "its scoring.depth is {'measures'" in refused(one, other)
    assert 'give each run once' in refused(
        *runs, write('e', 'base', 1, 9.0, 0.9)
    )
    wrong = write(
        'f', 'stl', 0, 9.0, 1.0, label_mask=dict(protocol='x', sha256='77')
    )
    text = refused(runs[0], '--reference', wrong)
    assert str(wrong) in text
    assert "label_mask.sha256 is '77'" in text
    assert 'no such file' in refused('nothing.json')


# ----- pairs


def masked(sha):
    return dict(label_mask=dict(protocol='one-label', sha256=sha))


@pytest.fixture
def many(write):
    """Gains of `ours` over `base`: 1, 2, 3, -1 points and .1 in depth."""
    files = []
    for seed, gain in enumerate((1.0, 2.0, 3.0, -1.0)):
        sha = 'a' * 16 if seed < 3 else 'b' * 16
        for name, score, error in (
            ('ours', 40 + gain, 0.4),
            ('base', 40.0, 0.5),
        ):
            files.append(
                write(f'{name}{seed}', name, seed, score, error, **masked(sha))
            )
    return files


def test_pairs(compare, many):
    """Two masks pool. The interval is compared with a bootstrap that lists
    all resamples.
    """
    text = compare(*many, '--against', 'base', '--format', 'csv')
    rows = {
        (r['method'], r['against'], r['score']): r
        for r in csv.DictReader(io.StringIO(text.split('\n\n')[1]))
    }
    assert {key[:2] for key in rows} == {('ours', 'base')}
    found = rows['ours', 'base', 'semseg/mIoU']
    gains = np.array([1.0, 2.0, 3.0, -1.0])
    assert float(found['mean']) == gains.mean()
    assert float(found['std']) == pytest.approx(gains.std(ddof=1))
    assert (found['wins'], found['pairs']) == ('3', '4')
    means = np.mean(np.meshgrid(*[gains] * 4), axis=0).ravel()
    low, high = np.quantile(means, (0.025, 0.975))
    # Bias correction and acceleration move both ends by less than a step of
    # the distribution of means, which is a quarter of the smallest distance.
    assert float(found['low']) == pytest.approx(low, abs=0.5)
    assert float(found['high']) == pytest.approx(high, abs=0.5)
    # Lower is better in depth.
    found = rows['ours', 'base', 'depth/RMSE']
    assert float(found['mean']) == pytest.approx(0.1)
    # 2.5 to 7.5 percent and -2.5; 20 percent of depth.
    found = rows['ours', 'base', 'delta_m against it']
    assert float(found['mean']) == pytest.approx((1.25 * 2.5 + 20) / 2)


def test_pairs_as_text(compare, many):
    text = compare(*many, '--against', 'base')
    line = text.splitlines()[-1]
    assert line.startswith('| ours | base | one-label | 4 | +1.25 ± 1.71 [')
    assert '], 3 of 4 |' in line
    text = compare(*many, '--against', 'base', '--format', 'latex')
    assert r'ours & base & one-label & 4 & +1.25 $\pm$ 1.71 [' in text


def test_gain_in_delta_m(compare, runs, reference):
    """Relative to single tasks: -22.5 and -15 against -9 and 1.25."""
    text = compare(
        *runs, '--reference', *reference, '--against', 'base',
        '--format', 'csv',
    )  # fmt: skip
    rows = {
        (r['method'], r['against']): r
        for r in csv.DictReader(io.StringIO(text.split('\n\n')[1]))
        if r['score'] == 'delta_m'
    }
    found = rows['ours', 'base']
    assert float(found['mean']) == pytest.approx((-13.5 - 16.25) / 2)
    assert found['wins'] == '0'
    alone = rows['base', 'the reference of delta_m']
    assert float(alone['mean']) == pytest.approx((-9 + 1.25) / 2)
    assert alone['wins'] == '1'


def test_runs_that_are_no_pairs_are_refused(compare, many, write):
    def refused(*args):
        with pytest.raises(SystemExit) as stopped:
            compare(*args, '--against', 'base')
        return stopped.value.code

    text = refused(*many[:-1])
    assert f'{many[-2]} (seed 3, mask bbbbbbbb) has no partner' in text
    text = compare(*many[:-1], '--against', 'base', '--common')
    assert '| ours | base | one-label | 3 |' in text
    # The same seed with another mask is no partner.
    other = write('x', 'base', 3, 40.0, 0.5, **masked('c' * 16))
    assert 'has no partner' in refused(*many[:-1], other)
    # The same mask, of which another number of labels was used.
    used = dict(
        masked('b' * 16), labels_used=dict(labels=dict(semseg=3, depth=2))
    )
    one = write('y', 'ours', 3, 40.0, 0.5, **used)
    used['labels_used'] = dict(labels=dict(semseg=3, depth=3))
    other = write('z', 'base', 3, 40.0, 0.5, **used)
    text = refused(*many[:-2], one, other)
    assert 'are no pair: label_mask.used.depth is 2 and 3' in text
    with pytest.raises(SystemExit) as stopped:
        compare(*many, '--against', 'bas')
    assert "--against='bas' is not allowed: choose" in stopped.value.code


@pytest.mark.parametrize(
    ('values', 'expected'),
    [
        # One pair has no interval; equal ones have a point.
        ([2.0], (2, np.nan, np.nan, np.nan, 1, 1)),
        ([2.0, 2.0], (2, 0, 2, 2, 2, 2)),
        ([0.0, np.nan], (np.nan, np.nan, np.nan, np.nan, 0, 2)),
    ],
)
def test_few_pairs(values, expected):
    np.testing.assert_equal(tuple(paired(values)), expected)


def test_the_interval_of_two_pairs_is_between_them():
    low, high = paired([1.0, 3.0])[2:4]
    assert (low, high) == (1, 3)


def test_the_interval_covers_the_mean_of_the_population():
    """In about 95 of 100 samples; of 40 pairs each."""
    rng = np.random.default_rng(0)
    found = [paired(rng.exponential(size=40)) for _ in range(60)]
    assert 50 <= sum(p.low < 1 < p.high for p in found) < 60

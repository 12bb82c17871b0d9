"""A run goes on from the furthest checkpoint of its folder that is whole."""

import os

import pytest
import torch
from mmengine.config import ConfigDict

from mmprotomtl.engine import check_whole, latest_checkpoint, settle_resume
from mmprotomtl.utils.errors import DataFileError
from tests.conftest import ROOT

CONTENT = torch.arange(500_000.0)


def write(path, iteration, epoch=None, **meta):
    """A checkpoint of 2 MB."""
    epoch = int(path.stem.split('_')[-1]) if epoch is None else epoch
    path.parent.mkdir(exist_ok=True)
    meta = dict(meta, epoch=epoch, iter=iteration)
    torch.save(dict(meta=meta, state_dict=dict(w=CONTENT)), path)
    return path


def zero(path, size=400_000):
    """Overwrites a part of a tensor."""
    content = bytearray(path.read_bytes())
    start = content.find(CONTENT[1000:1100].numpy().tobytes())
    content[start : start + size] = bytes(size)
    path.write_bytes(content)
    # torch does not notice.
    assert not torch.equal(torch.load(path)['state_dict']['w'], CONTENT)


def test_there_is_none_yet(tmp_path):
    assert latest_checkpoint(tmp_path / 'nowhere') is None
    (tmp_path / '.epoch_4.pth.7').write_text('half')
    write(tmp_path / 'best_depth_RMSE_epoch_3.pth', 18)
    assert latest_checkpoint(tmp_path) is None


def test_iterations_decide_and_not_time_or_note(tmp_path):
    tenth = write(tmp_path / 'epoch_10.pth', 60)
    ninth = write(tmp_path / 'epoch_9.pth', 54)
    elsewhere = write(tmp_path / 'other' / 'epoch_90.pth', 540)
    os.utime(tenth, (1, 1))
    for named in (ninth, elsewhere, tmp_path / 'epoch_99.pth', ''):
        (tmp_path / 'last_checkpoint').write_text(str(named))
        assert latest_checkpoint(tmp_path) == str(tenth)
    # 57 iterations are before 10 epochs, 61 after.
    write(tmp_path / 'iter_57.pth', 57, epoch=9)
    assert latest_checkpoint(tmp_path) == str(tenth)
    inside = write(tmp_path / 'iter_61.pth', 61, epoch=10)
    assert latest_checkpoint(tmp_path) == str(inside)


@pytest.mark.parametrize(
    'damage',
    [
        zero,
        lambda path: path.write_bytes(path.read_bytes()[:-20]),
        lambda path: path.write_bytes(path.read_bytes()[:100]),
        lambda path: path.write_bytes(b''),
        lambda path: path.write_bytes(bytes(path.stat().st_size)),
        lambda path: torch.save([1, 2], path),
        lambda path: torch.save(dict(meta={}, state_dict={}), path),
        # Another epoch's, under this name.
        lambda path: write(path, 6, epoch=1),
    ],
    ids=[
        'zeros', 'cut', 'start', 'empty', 'void', 'list', 'nometa', 'renamed',
    ],
)  # fmt: skip
def test_the_one_before_a_damaged_one(tmp_path, capsys, request, damage):
    good = write(tmp_path / 'epoch_2.pth', 12)
    bad = write(tmp_path / 'epoch_3.pth', 18)
    (tmp_path / 'last_checkpoint').write_text(str(bad))
    damage(bad)
    assert latest_checkpoint(tmp_path) == str(good)
    said = capsys.readouterr()
    assert f'{bad}: it' in (said.out + said.err).replace('\n', ' ')
    assert f'goes on from {good}' in said.out + said.err
    # Given by name it is refused, and one that was renamed is taken.
    cfg = ConfigDict(resume=True, load_from=str(bad), work_dir=str(tmp_path))
    if request.node.callspec.id == 'renamed':
        settle_resume(cfg)
        assert cfg.load_from == str(bad)
    else:
        with pytest.raises(DataFileError) as e:
            settle_resume(cfg)
        assert str(e.value).startswith(f'{bad}: it')
    # None is left: a new run in its place would be no resumed one.
    zero(good)
    with pytest.raises(DataFileError, match='none of its checkpoints') as e:
        latest_checkpoint(tmp_path)
    assert str(good) in str(e.value) and str(bad) in str(e.value)


def test_zeros_are_named(tmp_path):
    path = write(tmp_path / 'epoch_3.pth', 18)
    check_whole(path)
    zero(path, 1000)
    with pytest.raises(DataFileError, match=r'epoch_3.pth: it is damaged: '):
        check_whole(path)
    path.write_bytes(b'')
    for name in (path, tmp_path / 'epoch_9.pth'):
        with pytest.raises(DataFileError, match='it can not be read') as e:
            check_whole(name)
        assert e.value.path == str(name)
    # Files of old have no sums.
    torch.save(dict(a=1), path, _use_new_zipfile_serialization=False)
    check_whole(path)


def test_a_folder_and_a_name_of_the_user(tmp_path):
    """mmengine writes into the folder's last part below ``out_dir``."""
    work_dir, hook = tmp_path / 'run', dict(out_dir=str(tmp_path / 'big'))
    write(work_dir / 'epoch_5.pth', 30)
    (tmp_path / 'big').mkdir()
    path = write(tmp_path / 'big' / 'run' / 'epoch_2.pth', 12)
    assert latest_checkpoint(work_dir, hook) == str(path)
    path = write(work_dir / 'mine_7.pth', 42)
    hook = dict(filename_tmpl='mine_{}.pth')
    assert latest_checkpoint(work_dir, hook) == str(path)


def test_folders_of_shards(tmp_path):
    """Complete up to the one that the note names, which is written last."""
    for number in (2, 3, 4):
        for rank in (0, 1):
            folder = tmp_path / f'epoch_{number}.pth'
            folder.mkdir(exist_ok=True)
            write(folder / f'rank{rank}.pth', 6, epoch=1)
    (tmp_path / 'last_checkpoint').write_text(str(tmp_path / 'epoch_3.pth'))
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_3.pth')
    zero(tmp_path / 'epoch_3.pth' / 'rank1.pth')
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_2.pth')


def test_settings(tmp_path):
    path = write(tmp_path / 'epoch_3.pth', 18, seed=7)
    cfg = ConfigDict(resume=True, load_from=None, work_dir=str(tmp_path))
    settle_resume(cfg)
    assert (cfg.load_from, cfg.resume) == (str(path), True)
    # Without one of its own the run has the seed that it began with.
    assert cfg.randomness.seed == 7
    cfg = ConfigDict(resume=True, work_dir=str(tmp_path / 'new'))
    settle_resume(cfg)
    assert (cfg.load_from, cfg.resume) == (None, False)
    cfg = ConfigDict(load_from=str(path), randomness=dict(seed=1))
    settle_resume(cfg)
    assert cfg.randomness.seed == 1
    # Weights to begin with are for the first start; "auto" goes on then.
    weights = write(tmp_path / 'other' / 'epoch_9.pth', 54)
    for work_dir, expected in (
        (tmp_path, (str(path), True)),
        (tmp_path / 'new', (str(weights), False)),
    ):
        cfg = ConfigDict(resume='auto', work_dir=str(work_dir))
        cfg.load_from = str(weights)
        settle_resume(cfg)
        assert (cfg.load_from, cfg.resume) == expected
    # What is elsewhere is mmengine's to find, or to miss.
    for source in (None, 'https://example.org/epoch_3.pth'):
        other = ConfigDict(load_from=source)
        settle_resume(other)
        assert other == dict(load_from=source)
    zero(path)
    cfg = ConfigDict(load_from=str(path))
    with pytest.raises(DataFileError, match='epoch_3'):
        settle_resume(cfg)


def test_tools_name_the_file(tmp_path, tiny_config, tool):
    path = write(tmp_path / 'epoch_3.pth', 18)
    zero(path)
    done = tool('tools/test.py', tiny_config, path, check=False)
    assert done.returncode and f'{path}: it is damaged' in done.stdout
    for given in ([path], []):
        done = tool(
            'tools/train.py', tiny_config, '--work-dir', tmp_path, '--resume',
            *given, check=False, cwd=ROOT,
        )  # fmt: skip
        assert done.returncode and f'{path}: it is damaged' in done.stdout

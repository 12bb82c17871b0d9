import os

import pytest
import torch
from mmengine.runner import save_checkpoint

from mmprotomtl.engine import latest_checkpoint
from mmprotomtl.registry import HOOKS

ATOMIC = dict(backend='atomic')


def test_the_hook_writes_at_once():
    hook = HOOKS.build(dict(type='AtomicCheckpointHook', interval=1))
    assert hook.backend_args == ATOMIC
    other = dict(type='AtomicCheckpointHook', backend_args=dict(backend='x'))
    assert HOOKS.build(other).backend_args == dict(backend='x')


def test_a_full_disk_leaves_the_last_checkpoint(tmp_path, monkeypatch):
    path = str(tmp_path / 'epoch_1.pth')
    save_checkpoint(dict(a=1), path, backend_args=ATOMIC)
    replace = os.replace

    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr(os, 'fsync', full)
    with pytest.raises(
        OSError, match=r'No space left on device; 0\.0 MB .*'
    ) as e:
        save_checkpoint(dict(a=2), path, backend_args=ATOMIC)
    assert e.value.filename == path
    monkeypatch.setattr(os, 'fsync', lambda _: None)
    # A kill just before the move.
    monkeypatch.setattr(os, 'replace', lambda *_: os._exit(9))
    child = os.fork()
    if not child:
        save_checkpoint(dict(a=2), path, backend_args=ATOMIC)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9
    monkeypatch.setattr(os, 'replace', replace)
    assert torch.load(path) == dict(a=1)
    assert latest_checkpoint(tmp_path) == path


def test_latest(tmp_path):
    assert latest_checkpoint(tmp_path / 'nowhere') is None
    assert latest_checkpoint(tmp_path) is None
    for i, name in enumerate(('epoch_2.pth', 'epoch_3.pth', '.epoch_4.pth.7')):
        (tmp_path / name).write_text('')
        os.utime(tmp_path / name, (i, i))
    note = tmp_path / 'last_checkpoint'
    note.write_text(str(tmp_path / 'epoch_2.pth'))
    assert latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_2.pth')
    # Killed while it wrote the note; or the note names what has gone.
    for text in ('', str(tmp_path / 'epoch_9.pth')):
        note.write_text(text)
        assert latest_checkpoint(tmp_path) == str(tmp_path / 'epoch_3.pth')

"""Temporary files of processes that were killed."""

import os
import subprocess
import sys

from mmprotomtl.utils.files import remove_drafts


def test_only_drafts_of_processes_that_ended_are_removed(tmp_path):
    ended = subprocess.Popen([sys.executable, '-c', ''])
    ended.wait()
    kept = [
        f'.a.json.{os.getpid()}', f'b.json.{ended.pid}', '.c.json', '.d',
        # Process 1 belongs to another user, or to this one in a container.
        '.e.json.1',
    ]  # fmt: skip
    gone = [f'.a.json.{ended.pid}', f'.f.pth.{ended.pid}']
    for name in kept + gone:
        (tmp_path / name).write_text('')
    remove_drafts(tmp_path)
    assert sorted(os.listdir(tmp_path)) == sorted(kept)

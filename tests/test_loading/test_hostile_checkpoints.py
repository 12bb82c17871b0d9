"""A checkpoint never runs code, whichever way it is loaded."""

import contextlib
import http.server
import io
import os
import pickle
import re
import runpy
import sys
import tarfile
import threading
import zipfile
from collections import Counter, OrderedDict
from functools import partial

import numpy as np
import pytest
import torch
from mmengine.logging import HistoryBuffer
from mmengine.model import BaseModule
from mmengine.runner import CheckpointLoader, Runner
from mmengine.runner import checkpoint as mmengine_checkpoint
from torch import nn

from mmprotomtl.apis import MultiTaskInferencer
from mmprotomtl.loading import checkpoint_files
from mmprotomtl.loading.checkpoint_files import load_checkpoint, trust
from mmprotomtl.models.pretrained import check_pretrained
from mmprotomtl.registry import MODELS
from mmprotomtl.utils.errors import DataFileError
from tests.conftest import ROOT

OLD = ROOT / 'tests' / 'data' / 'checkpoint_of_b306e70'


class Harm:
    """Writes a file when it is unpickled."""

    def __reduce__(self):
        return open, ('harm.txt', 'w')


@pytest.fixture(autouse=True)
def in_tmp(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(checkpoint_files, '_TRUSTED', set())
    return tmp_path


def hostile(path='bad.pth', zipped=True, **more):
    state = dict(state_dict={'a': torch.ones(1)}, harm=Harm(), **more)
    torch.save(state, path, _use_new_zipfile_serialization=zipped)
    return str(path)


def run_tool(monkeypatch, name, *args):
    monkeypatch.setattr(sys, 'argv', [name, *map(str, args)])
    runpy.run_path(str(ROOT / 'tools' / name), run_name='__main__')


def tool_test(monkeypatch, file, *more):
    run_tool(monkeypatch, 'test.py', OLD / 'today.py', file, *more)


def tool_resume(monkeypatch, file, *more):
    run_tool(
        monkeypatch, 'train.py', OLD / 'today.py', '--resume', file,
        '--work-dir', 'run', *more,
    )  # fmt: skip


def tool_load_from(monkeypatch, file, *more):
    run_tool(
        monkeypatch, 'train.py', OLD / 'today.py', '--work-dir', 'run',
        '--cfg-options', f'load_from={file}', *more,
    )  # fmt: skip


def tool_publish(monkeypatch, file, *more):
    run_tool(monkeypatch, 'misc/publish_model.py', file, 'out', *more)


def inferencer(monkeypatch, file):
    MultiTaskInferencer(str(OLD / 'today.py'), file, device='cpu')


def inferencer_alone(monkeypatch, file):
    MultiTaskInferencer(weights=file, device='cpu')


def init_cfg(monkeypatch, file):
    init = dict(type='Pretrained', checkpoint=file)
    part = BaseModule(init)
    part.layer = nn.Conv2d(1, 1, 1)
    check_pretrained(part, 'backbone')


def nested_init_cfg(monkeypatch, file):
    part = BaseModule(dict(type='Pretrained', checkpoint=file))
    part.init_weights()


def foreign_backbone(monkeypatch, file):
    model = MODELS.build(
        dict(
            type='mmpretrain.ConvNeXt', arch='atto',
            init_cfg=dict(type='Pretrained', checkpoint=file),
        )
    )  # fmt: skip
    model.init_weights()


def runner(monkeypatch, file):
    Runner.load_checkpoint(
        Runner(nn.Identity(), 'run', default_scope='mmprotomtl'), file
    )


def mmengine_itself(monkeypatch, file):
    mmengine_checkpoint._load_checkpoint(file, 'cpu')


@pytest.mark.parametrize(
    'entry',
    [
        tool_test, tool_resume, tool_load_from, tool_publish, inferencer,
        inferencer_alone, init_cfg, nested_init_cfg, foreign_backbone, runner,
        mmengine_itself,
    ],
)  # fmt: skip
def test_no_entry_runs_what_a_checkpoint_holds(entry, monkeypatch, in_tmp):
    file = hostile()
    with pytest.raises((DataFileError, SystemExit)) as caught:
        entry(monkeypatch, file)
    assert 'bad.pth: holds io.open' in str(caught.value)
    assert 'trust' in str(caught.value)
    assert not (in_tmp / 'harm.txt').exists()
    # It is the reader that is careful, not the file that is harmless.
    torch.load(file, weights_only=False)
    assert (in_tmp / 'harm.txt').exists()


@pytest.mark.parametrize(
    'entry', [tool_publish, tool_load_from, tool_test, tool_resume]
)
def test_a_tool_is_told_that_a_file_can_be_trusted(entry, monkeypatch, in_tmp):
    # It holds no network, so what comes after loading may fail.
    with contextlib.suppress(Exception, SystemExit):
        entry(monkeypatch, hostile(), '--trust-checkpoint')
    assert (in_tmp / 'harm.txt').exists()


def test_trust_is_for_one_file(in_tmp):
    trust('good.pth')
    hostile('good.pth')
    assert 'state_dict' in load_checkpoint('good.pth')
    os.unlink('harm.txt')
    trust('shards')
    os.mkdir('shards')
    assert 'state_dict' in load_checkpoint(hostile('shards/rank0.pth'))
    os.unlink('harm.txt')
    with pytest.raises(DataFileError):
        load_checkpoint(hostile())
    assert not (in_tmp / 'harm.txt').exists()


def test_init_cfg_is_told_that_a_file_can_be_trusted(in_tmp):
    file = hostile(weight=torch.ones(1))
    part = BaseModule(
        dict(type='Pretrained', checkpoint=file, trust_checkpoint=True)
    )
    part.a = nn.Parameter(torch.zeros(1))
    check_pretrained(part, 'backbone')
    part.init_weights()
    assert part.a.item() == 1
    assert (in_tmp / 'harm.txt').exists()


def test_the_inferencer_is_told_that_a_file_can_be_trusted(in_tmp):
    state = torch.load(OLD / 'epoch_40.pth', weights_only=False)
    torch.save(dict(state, harm=Harm()), 'bad.pth')
    with pytest.raises(DataFileError, match=r'bad\.pth: holds io\.open'):
        MultiTaskInferencer(weights='bad.pth', device='cpu')
    assert not (in_tmp / 'harm.txt').exists()
    MultiTaskInferencer(weights='bad.pth', device='cpu', trust_checkpoint=True)
    assert (in_tmp / 'harm.txt').exists()


def test_no_other_place_unpickles():
    calls = (
        r'(=|return) torch\.load\(|[^_]pickle\.loads?\(|allow_pickle=True'
        r'|load_url\('
    )
    found = [
        str(path.relative_to(ROOT))
        for folder in ('mmprotomtl', 'tools', 'demo')
        for path in (ROOT / folder).rglob('*.py')
        if re.search(calls, path.read_text())
    ]
    assert found == ['mmprotomtl/loading/checkpoint_files.py']


def test_every_scheme_of_mmengine_is_replaced(monkeypatch):
    found = set(CheckpointLoader._schemes.values())
    assert found == {checkpoint_files.load_from_file}
    # A loader of mmengine's that we know no safe way for is refused.
    with pytest.raises(DataFileError, match='pavi://x: download it'):
        mmengine_checkpoint._load_checkpoint('pavi://x')


@pytest.fixture
def server(in_tmp):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = partial(Quiet, directory=str(in_tmp))
    with http.server.HTTPServer(('127.0.0.1', 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f'http://127.0.0.1:{served.server_port}'
        served.shutdown()


@pytest.mark.parametrize(
    'scheme', ['http', 'torchvision', 'mmcls', 'openmmlab']
)
def test_a_downloaded_file_is_not_executed(
    scheme, server, monkeypatch, in_tmp
):
    monkeypatch.setenv('TORCH_HOME', str(in_tmp / 'home'))
    weights = OrderedDict({'backbone.a': torch.arange(3)})
    torch.save(dict(state_dict=weights), 'good.pth')
    hostile()
    table = {n: f'{server}/{n}.pth' for n in ('good', 'bad')}
    for name in set(checkpoint_files._MODEL_TABLES.values()):
        monkeypatch.setattr(mmengine_checkpoint, name, lambda: table)
    begin = f'{scheme}://' if scheme != 'http' else f'{server}/'
    end = '' if scheme != 'http' else '.pth'
    found = CheckpointLoader.load_checkpoint(f'{begin}good{end}', 'cpu')
    key = 'a' if scheme == 'mmcls' else 'backbone.a'
    assert found['state_dict'][key].tolist() == [0, 1, 2]
    with pytest.raises(DataFileError, match=r'bad(\.pth)?: holds io\.open'):
        CheckpointLoader.load_checkpoint(f'{begin}bad{end}', 'cpu')
    assert not (in_tmp / 'harm.txt').exists()


def test_old_formats_are_not_executed(in_tmp):
    with pytest.raises(DataFileError, match=r'holds io\.open'):
        load_checkpoint(hostile(zipped=False))
    # Before torch 0.4: a tar archive, which torch.load runs even with
    # weights_only before 2.6.
    with tarfile.open('tar.pth', 'w') as archive:
        for name in ('storages', 'tensors', 'pickle'):
            content = pickle.dumps(Harm(), 2)
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    with pytest.raises(DataFileError, match='a tar archive'):
        load_checkpoint('tar.pth')
    # The program of TorchScript.
    torch.jit.script(nn.Linear(1, 1)).save('script.pth')
    with pytest.raises(DataFileError, match='holds a program'):
        load_checkpoint('script.pth')
    # A pickle alone, and with further pickles in the header.
    for protocol in range(5):
        (in_tmp / 'p.pth').write_bytes(pickle.dumps(Harm(), protocol))
        with pytest.raises(DataFileError, match='holds (io|_io)'):
            load_checkpoint('p.pth')
    assert not (in_tmp / 'harm.txt').exists()


@pytest.mark.parametrize(
    'code',
    [
        # Names that torch or mmengine allow, and what can be made of them.
        b'cbuiltins\ngetattr\n(cbuiltins\nset\nX\x03\x00\x00\x00poptR.',
        b'cbuiltins\neval\n(X\x01\x00\x00\x001tR.',
        b'cnumpy\nload\n.', b'cos\nsystem\n.', b'cnumpy.dtype\n__call__\n.',
        b'cmmengine.logging.history_buffer\nHistoryBuffer.mean\n.',
        b'(S"true"\nios\nsystem\n.', b'(cos\nsystem\nS"true"\no.',
        b'\x82\x01.', b'Pid\n.', b'\x80\x02ccollections\nOrderedDict\n}b.',
        b'ccollections\nOrderedDict\n(tR}X\x05\x00\x00\x00itemsNsb.',
    ],
)  # fmt: skip
def test_pickles_that_reach_for_more(code, in_tmp):
    torch.save({}, 'a.pth')
    with zipfile.ZipFile('b.pth', 'w') as archive:
        archive.writestr('a/data.pkl', code)
    with pytest.raises(DataFileError, match=r'b\.pth: '):
        load_checkpoint('b.pth')


def same(one, other):
    assert type(one) is type(other)
    if isinstance(one, dict):
        assert list(one) == list(other)
        for key in one:
            same(one[key], other[key])
        if hasattr(other, '_metadata'):
            assert one._metadata == other._metadata
    elif isinstance(one, (list, tuple)):
        for part, another in zip(one, other, strict=True):
            same(part, another)
    elif isinstance(one, torch.Tensor):
        assert one.dtype == other.dtype and one.stride() == other.stride()
        assert one.requires_grad == other.requires_grad
        assert torch.equal(one, other)
    elif isinstance(one, np.ndarray):
        assert one.dtype == other.dtype and np.array_equal(one, other)
    elif isinstance(one, HistoryBuffer):
        same(one.data, other.data)
        assert one.max_length == other.max_length
    else:
        assert one == other


@pytest.mark.parametrize('zipped', [True, False])
def test_what_a_run_stores_is_read_as_torch_reads_it(zipped, in_tmp):
    same(
        load_checkpoint(str(OLD / 'epoch_40.pth')),
        torch.load(OLD / 'epoch_40.pth', weights_only=False),
    )
    base = torch.arange(24.0).reshape(2, 3, 4)
    # Training of sharded weights leaves attributes on its tensors.
    marked = torch.ones(4)
    marked.attribute = {'a': 1}
    history = HistoryBuffer()
    for value in (1.5, 2, 7.25):
        history.update(value, 2)
    model = nn.Sequential(nn.BatchNorm2d(3), nn.Linear(2, 2))
    state = dict(
        state_dict=model.state_dict(), part=base[1], turned=base.mT, same=base,
        parameter=nn.Parameter(torch.ones(2)), marked=marked,
        empty=torch.zeros(0, 3),
        history=history, array=np.asfortranarray(np.ones((2, 3), '>i4')),
        number=np.float32(0.5), counter=Counter({3: 1}), some={1, 2, 'x'},
        size=torch.Size([1, 2]), device=torch.device('cpu'),
        dtype=torch.float16, raw=b'\x00\xff', nothing=None, big=2**70,
        **{
            str(dtype): torch.ones(3).to(dtype)
            for dtype in (
                torch.float64, torch.float16, torch.bfloat16, torch.int64,
                torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool,
                torch.complex64, torch.complex128, torch.uint16,
                torch.float8_e4m3fn,
            )
            if zipped or dtype not in (torch.float8_e4m3fn, torch.uint16)
        },
    )  # fmt: skip
    torch.save(state, 'a.pth', _use_new_zipfile_serialization=zipped)
    found = load_checkpoint('a.pth')
    expected = torch.load('a.pth', weights_only=False)
    expected['array'] = expected['array'].astype('i4')
    float8 = 'torch.float8_e4m3fn'
    if float8 in found:
        same(found.pop(float8).float(), expected.pop(float8).float())
    same(found, expected)
    # Tensors that share memory still do.
    found['same'][1, 0, 0] = -1
    assert found['part'][0, 0] == -1 == found['turned'][1, 0, 0]


def test_where_tensors_are_put():
    torch.save(dict(a=torch.ones(2)), 'a.pth')
    assert load_checkpoint('a.pth', 'meta')['a'].device.type == 'meta'
    assert load_checkpoint('a.pth', None)['a'].device.type == 'cpu'
    places = []

    def where(storage, location):
        places.append(location)
        return storage

    assert load_checkpoint('a.pth', where)['a'].tolist() == [1, 1]
    assert load_checkpoint('a.pth', {'cpu': 'meta'})['a'].is_meta
    assert places == ['cpu']


def change_number(path, text, new):
    """Replace the pickle in a file of torch.save."""
    with zipfile.ZipFile(path) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(path, 'w') as archive:
        for name, content in parts.items():
            if name.endswith('data.pkl'):
                assert text in content
                content = content.replace(text, new)
            archive.writestr(name, content)


def test_tensors_that_claim_more_than_the_file_has():
    """Refused before memory is taken for them."""
    torch.save(dict(a=torch.ones(1).expand(2**30)), 'a.pth')
    with pytest.raises(DataFileError, match=r'1073741824,\).*same few numb'):
        load_checkpoint('a.pth')
    torch.save(dict(a=torch.ones(300)), 'b.pth')
    change_number('b.pth', b'M,\x01', b'J\x00\x00\x00\x70')
    with pytest.raises(DataFileError, match='7516192768 bytes, more than the'):
        load_checkpoint('b.pth')
    torch.save(dict(a=torch.ones(300)[:200]), 'c.pth')
    change_number('c.pth', b'K\xc8\x85', b'M\xff\xff\x85')
    with pytest.raises(DataFileError, match=r'shape \(65535,\) in 1200 byte'):
        load_checkpoint('c.pth')
    # Sharing is fine as long as it is little.
    torch.save(dict(a=torch.ones(1).expand(1000, 1000)), 'd.pth')
    assert load_checkpoint('d.pth')['a'].sum() == 10**6


def test_archives_that_unpack_to_more():
    torch.save(dict(a=torch.zeros(10**6)), 'a.pth')
    with zipfile.ZipFile('a.pth') as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile('b.pth', 'w', zipfile.ZIP_DEFLATED) as archive:
        for name, content in parts.items():
            archive.writestr(name, content)
    with pytest.raises(DataFileError, match='a compressed archive'):
        load_checkpoint('b.pth')


def test_an_archive_that_claims_a_size_of_gigabytes(in_tmp):
    """Found by benchmarks/fuzz_readers.py, --seed 1."""
    torch.save(dict(a=torch.zeros(3)), 'a.pth')
    content = bytearray((in_tmp / 'a.pth').read_bytes())
    name = b'archive/byteorder' if b'archive/' in content else b'a/byteorder'
    # The entry in the directory at the end: its size in the archive.
    place = content.rindex(name) - 46
    assert content[place : place + 4] == b'PK\1\2'
    content[place + 20 : place + 24] = b'\xf0\xf0\xf0\xf0'
    (in_tmp / 'a.pth').write_bytes(content)
    with pytest.raises(DataFileError, match='a compressed archive'):
        load_checkpoint('a.pth')


def test_damaged_numbers_are_noticed(in_tmp):
    torch.save(dict(a=torch.full((10**5,), 3.0)), 'a.pth')
    content = bytearray((in_tmp / 'a.pth').read_bytes())
    content[200_000:200_100] = bytes(100)
    (in_tmp / 'a.pth').write_bytes(content)
    with pytest.raises(DataFileError, match=r'a\.pth: not a whole.*CRC'):
        load_checkpoint('a.pth')
    (in_tmp / 'a.pth').write_bytes(content[:1000])
    with pytest.raises(DataFileError, match=r'a\.pth: not a whole'):
        load_checkpoint('a.pth')


def test_what_is_no_file():
    os.mkfifo('pipe.pth')
    for path in ('pipe.pth', '/dev/zero', '.'):
        with pytest.raises(DataFileError, match='not a regular file'):
            load_checkpoint(path)
    with pytest.raises(FileNotFoundError, match='none.pth'):
        load_checkpoint('none.pth')

"""Give damaged and hostile files to all readers, with bounds.

    python benchmarks/fuzz_readers.py [--inputs 20000] [--seed 0] \
        [--readers image,mat,...] [--keep DIR]

Sound files of every format are mutated: bits, bytes and numbers are changed,
parts are cut, repeated, moved and exchanged between files. Archives and packed
variables are unpacked before and packed again, so that what is inside is
reached too; so are pickles, instruction by instruction. Each reader has to
return, or to raise DataFileError with the name of the file (for a checkpoint
whose network does not exist, nothing else is done with it).

Inputs are read in batches by a child process, whose memory (RLIMIT_AS above
what it has at its start) and time for each input (SIGALRM, and a deadline that
the parent keeps) are bounded, and which has an audit hook: a file that is
opened for writing, a process that is started or code that is compiled fails
the input. A child that dies fails the input that it was reading.

The same seed gives the same inputs. Failing inputs are written to --keep.
"""

import argparse
import functools
import io
import multiprocessing
import os
import pickletools
import random
import resource
import signal
import struct
import sys
import tempfile
import time
import warnings
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from mmengine.logging import HistoryBuffer
from PIL import Image
from prettytable import PrettyTable
from scipy.io import savemat

from mmprotomtl.label_masks import (
    draw_label_mask,
    read_mask_file,
    write_label_mask,
)
from mmprotomtl.loading.checkpoint_files import load_checkpoint
from mmprotomtl.loading.stored_config import read_stored_config
from mmprotomtl.readers import (
    DataFile,
    mat_variables,
    read_edges,
    read_ids,
    read_label,
    read_label_map,
    read_normals,
    read_npy,
    read_parts,
    read_picture,
    read_rgb,
)
from mmprotomtl.utils.errors import DataFileError

#: Bounds of one input: seconds, and bytes above those of an idle child.
SECONDS, BYTES = 10, 2**30
#: Events of Python's audit hook that no reader may cause.
FORBIDDEN = ('os.system', 'subprocess.Popen', 'os.exec', 'os.fork',
             'socket.connect', 'ctypes.dlopen', 'os.remove', 'os.rename',
             'os.mkdir', 'shutil.rmtree')  # fmt: skip


class Kind(NamedTuple):
    """Readers of one format."""

    ending: str
    sound: Callable[[random.Random], bytes]
    readers: tuple[Callable[[str], Any], ...]


def loaded(read: Callable[..., Any], **options: Any) -> Callable[[str], Any]:
    """Return a reader as the data sets use it."""
    reader = functools.partial(read, **options)
    return lambda path: DataFile(path, reader).load()


# -- sound files -----------------------------------------------------------


def an_image(rng: random.Random) -> bytes:
    """An image of any mode and format."""
    form, mode = rng.choice(
        [
            ('PNG', 'RGB'), ('PNG', 'L'), ('PNG', 'P'), ('PNG', '1'),
            ('PNG', 'RGBA'), ('PNG', 'LA'), ('PNG', 'I;16'), ('JPEG', 'RGB'),
            ('JPEG', 'L'), ('JPEG', 'CMYK'), ('TIFF', 'RGB'), ('TIFF', 'L'),
            ('TIFF', 'F'), ('TIFF', 'I;16'), ('TIFF', 'CMYK'), ('BMP', 'RGB'),
            ('BMP', 'L'), ('WEBP', 'RGB'), ('GIF', 'P'), ('PPM', 'RGB'),
            ('EPS', 'RGB'),
        ]
    )  # fmt: skip
    values = np.random.default_rng(rng.getrandbits(32))
    size = rng.randint(1, 20), rng.randint(1, 20)
    if mode == 'I;16':
        image = Image.fromarray(values.integers(0, 65536, size, np.uint16))
    else:
        pixels = values.integers(0, 256, (*size, 3), np.uint8)
        image = Image.fromarray(pixels).convert(mode)
    options: dict[str, Any] = {}
    if form == 'TIFF':
        codes = ['raw', 'tiff_lzw', 'packbits', 'tiff_adobe_deflate']
        options['compression'] = rng.choice(codes)
    if form in ('JPEG', 'PNG') and rng.random() < 0.3:
        exif = Image.Exif()
        exif[0x0112] = rng.randint(0, 9)
        options['exif'] = exif
    stream = io.BytesIO()
    image.save(stream, form, **options)
    return stream.getvalue()


def a_matlab_file(rng: random.Random) -> bytes:
    """Variables as in the data sets, under the names that are read."""
    values = np.random.default_rng(rng.getrandbits(32))
    label = values.integers(0, 30, (6, 8), np.uint8)
    part = np.zeros((1, 1), [('part_name', object), ('mask', object)])
    part['part_name'][0, 0], part['mask'][0, 0] = 'head', label > 9
    thing = np.zeros((1, 2), [('class_ind', object), ('parts', object),
                              ('mask', object)])  # fmt: skip
    for i in range(2):
        thing['class_ind'][0, i], thing['parts'][0, i] = 15, part
        thing['mask'][0, i] = label > 3
    cells = np.empty((1, 2), object)
    for i in range(2):
        cells[0, i] = dict(Boundaries=label > 5, Segmentation=label)
    variables = dict(
        LabelMap=label, groundTruth=cells, a=label.astype(float),
        anno=dict(imname='x', objects=thing), text='words',
        norm=values.normal(size=(6, 8, 3)), z=label * 1j,
    )  # fmt: skip
    names = rng.sample(sorted(variables), rng.randint(1, 4))
    stream = io.BytesIO()
    packed = rng.random() < 0.5
    savemat(stream, {n: variables[n] for n in names}, do_compression=packed)
    return stream.getvalue()


def an_npy_file(rng: random.Random) -> bytes:
    """An array of numbers, or of objects."""
    values = np.random.default_rng(rng.getrandbits(32))
    array = values.normal(size=rng.choice([(4, 5), (4, 5, 3), (9,), ()]))
    kind = rng.choice(['f4', 'f8', 'i4', 'u1', 'i1', '?', '>i2', 'O', 'c8'])
    stream = io.BytesIO()
    np.save(stream, np.asarray(array).astype(kind), allow_pickle=True)
    return stream.getvalue()


def a_mask(rng: random.Random) -> bytes:
    """A mask file of any of the published forms."""
    ids = [f'2008_{i:06}' for i in range(rng.randint(1, 6))]
    flags = {name: [rng.randint(0, 1) for _ in range(5)] for name in ids}
    form = rng.randint(0, 4)
    if form == 0:
        table = torch.tensor(list(flags.values()), dtype=torch.float32)
        return saved(rng, dict(labels_weights=table))
    if form == 1:
        return saved(rng, flags)
    if form == 2:
        return saved(rng, {k: np.array(v) for k, v in flags.items()})
    if form == 3:
        return saved(
            rng, {k: [np.int64(i) for i in v] for k, v in flags.items()}
        )
    stream = io.BytesIO()
    lists = dict(semseg=ids[:3], depth=np.array(ids))
    np.save(stream, np.array(lists, dtype=object), allow_pickle=True)
    return stream.getvalue()


def a_manifest(rng: random.Random) -> bytes:
    """A manifest of tools/label_masks.py."""
    ids = [str(i) for i in range(rng.randint(1, 6))]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, 'm.json')
        mask = draw_label_mask('one-label', ids, ('a', 'b', 'c'))
        write_label_mask(path, mask)
        return path.read_bytes()


def a_checkpoint(rng: random.Random) -> bytes:
    """What a run stores: weights, optimizer, message hub, meta."""
    history = HistoryBuffer()
    history.update(rng.random())
    weight = torch.arange(float(rng.randint(1, 30)))
    return saved(
        rng,
        dict(
            state_dict={'a.weight': weight, 'a.bias': weight[:1]},
            optimizer=dict(state={0: dict(step=torch.tensor(1.0))}),
            message_hub=dict(log_scalars=dict(loss=history)),
            meta=dict(cfg='a = 1\n', iter=3, seed=np.int64(5)),
        ),
    )


def saved(rng: random.Random, value: Any) -> bytes:
    """The bytes that torch.save writes, in its new or its old format."""
    stream = io.BytesIO()
    zipped = rng.random() < 0.7
    torch.save(value, stream, _use_new_zipfile_serialization=zipped)
    return stream.getvalue()


def a_list(rng: random.Random) -> bytes:
    """A list of ids, in one of three codings."""
    letters = 'abc019_-é語\u0301'
    lines = [
        ''.join(rng.choices(letters, k=rng.randint(1, 12))) for _ in range(9)
    ]
    coding = rng.choice(['utf-8', 'utf-16', 'utf-8-sig'])
    return rng.choice(['\n', '\r\n']).join(lines).encode(coding)


def a_config(rng: random.Random) -> bytes:
    """The text of a config, as a checkpoint has it."""
    return (
        "a = dict(b=[1, (2.5, -3)], type='MultiTaskSegmentor')\n"
        "custom_imports = dict(imports=['mmprotomtl'])\n"
        f"c = {{'x': {{1, {rng.randint(0, 99)}}}, **dict(y=None)}}\n"
    ).encode()


def read_normals_of(path: str) -> Any:
    """Read normals, with a map of classes from the same file."""
    return loaded(read_normals, label_map=path)(path)


def read_parts_of(path: str) -> Any:
    """Read body parts, beside an image of their size."""
    return loaded(read_parts, image=f'{path}.jpg')(path)


def read_config(path: str) -> Any:
    """Read the text of a config."""
    text = Path(path).read_bytes().decode(errors='replace')
    return read_stored_config(text, path)


KINDS = {
    'image': Kind(
        '.png', an_image,
        (loaded(read_rgb), loaded(read_picture),
         loaded(read_picture, shown=True, lossy=True), loaded(read_label)),
    ),
    'mat': Kind(
        '.mat', a_matlab_file,
        (mat_variables, loaded(read_label_map), loaded(read_edges),
         read_parts_of, read_normals_of, loaded(read_label),
         loaded(read_label, key='groundTruth', votes=1)),
    ),
    'npy': Kind('.npy', an_npy_file, (loaded(read_npy), loaded(read_label))),
    'mask': Kind('.pth', a_mask, (read_mask_file,)),
    'manifest': Kind('.json', a_manifest, (read_mask_file,)),
    'checkpoint': Kind('.pth', a_checkpoint, (load_checkpoint,)),
    'config': Kind('.py', a_config, (read_config,)),
    'ids': Kind('.txt', a_list, (read_ids,)),
}  # fmt: skip

# -- mutations -------------------------------------------------------------

_NUMBERS = [0, 1, 127, 128, 255, 2**15, 2**16 - 1, 2**24, 2**31 - 1, 2**31,
            2**32 - 1, 2**63 - 1, 2**64 - 1]  # fmt: skip


def mutate(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """Change a few places of a file; ``other`` is one of the same kind."""
    data = bytearray(content)
    for _ in range(rng.choice([1, 1, 1, 2, 3, 8])):
        place = rng.randrange(len(data) + 1)
        end = min(len(data), place + rng.choice([1, 2, 4, 8, 40, 400]))
        match rng.randrange(9):
            case 0 if place < len(data):
                data[place] ^= 1 << rng.randrange(8)
            case 1 if place < len(data):
                data[place] = rng.randrange(256)
            case 2:
                form = rng.choice(['<B', '<H', '<I', '<Q', '>H', '>I'])
                number = rng.choice(_NUMBERS) % 256 ** struct.calcsize(form)
                raw = struct.pack(form, number)
                data[place : place + len(raw)] = raw
            case 3:
                del data[place:end]
            case 4:
                del data[place:]
            case 5:
                data[place:place] = data[place:end] * rng.choice([1, 2, 100])
            case 6:
                start = rng.randrange(len(other) + 1)
                data[place:end] = other[start : start + end - place]
            case 7:
                data[place:end] = bytes(end - place)
            case 8:
                data[place:place] = rng.randbytes(rng.randint(1, 9))
    return bytes(data)


def mutate_pickle(content: bytes, rng: random.Random) -> bytes:
    """Change instructions of a pickle: leave out, repeat, exchange, insert."""
    places = [place for *_, place in pickletools.genops(content)]
    parts = [
        content[a:b]
        for a, b in zip(places, [*places[1:], len(content)], strict=True)
    ]
    for _ in range(rng.choice([1, 1, 2, 5])):
        i, j = rng.randrange(len(parts)), rng.randrange(len(parts))
        match rng.randrange(5):
            case 0:
                parts[i] = b''
            case 1:
                parts[i] += parts[j] * rng.choice([1, 1, 50])
            case 2:
                parts[i], parts[j] = parts[j], parts[i]
            case 3:
                parts[i] += rng.choice(
                    [
                        b'0', b'2', b'(', b'}', b']', b')', b'R', b'b',
                        b'\x85', b'\x86', b'\x87', b's', b'a', b'u', b'e',
                        b'Q', b'\x81', b'cos\nsystem\n',
                        b'c__builtin__\ngetattr\n',
                        b'cnumpy\ndtype\n', b'ctorch\nSize\n', b'N', b'K\x01',
                        b'J\xff\xff\xff\x7f',
                        b'q\xfeh\xfe\x86' * 60,
                        b'ctorch._utils\n_rebuild_tensor_v2\n', b'h\x00',
                    ]
                )  # fmt: skip
            case 4:
                parts[i] = mutate(parts[i], parts[j], rng)
    return b''.join(parts)


def mutate_inside(
    kind: str, content: bytes, other: bytes, rng: random.Random
) -> bytes:
    """Mutate what is packed in a file, and pack it again."""
    if content[:2] == b'PK':
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            parts = {n: archive.read(n) for n in archive.namelist()}
        name = rng.choice([*parts, *(n for n in parts if 'pkl' in n)])
        if name.endswith('.pkl') and rng.random() < 0.8:
            parts[name] = mutate_pickle(parts[name], rng)
        else:
            parts[name] = mutate(parts[name], other, rng)
        if rng.random() < 0.1:
            parts.pop(rng.choice(list(parts)))
        stream = io.BytesIO()
        packing = rng.choice([zipfile.ZIP_STORED] * 9 + [zipfile.ZIP_DEFLATED])
        with zipfile.ZipFile(stream, 'w', packing) as archive:
            for part, value in parts.items():
                archive.writestr(part, value)
        return stream.getvalue()
    if kind == 'mat':
        return mutate_variables(content, other, rng)
    if content.startswith(b'\x93NUMPY') and b"'|O'" in content[:128]:
        return content[:128] + mutate_pickle(content[128:], rng)
    if content.startswith(b'\x89PNG'):
        return mutate_chunks(content, other, rng)
    return mutate(content, other, rng)


def mutate_variables(
    content: bytes, other: bytes, rng: random.Random
) -> bytes:
    """Mutate the variables of a Matlab file, also those that are packed."""
    result, place = content[:128], 128
    while place + 8 <= len(content):
        kind, size = struct.unpack_from('<II', content, place)
        part = content[place + 8 : place + 8 + size]
        place += 8 + size
        if kind == 15:
            part = zlib.decompress(part)
            if rng.random() < 0.7:
                part = mutate(part, other, rng)
            part = zlib.compress(part)
        elif rng.random() < 0.7:
            part = mutate(part, other, rng)
        result += struct.pack('<II', kind, len(part)) + part
    return result


def mutate_chunks(content: bytes, other: bytes, rng: random.Random) -> bytes:
    """Mutate the chunks of a PNG, with right check sums."""
    result, place = content[:8], 8
    while place + 12 <= len(content):
        (size,) = struct.unpack_from('>I', content, place)
        name = content[place + 4 : place + 8]
        part = content[place + 8 : place + 8 + size]
        place += 12 + size
        if rng.random() < 0.4:
            part = mutate(part, other, rng)
        for _ in range(rng.choice([0, 1, 1, 1, 1, 1, 2])):
            check = zlib.crc32(name + part)
            result += struct.pack('>I', len(part)) + name + part
            result += struct.pack('>I', check)
    return result


def make_input(kind: str, number: int, seed: int) -> bytes:
    """The input of a number; the same for the same seed."""
    rng = random.Random(f'{seed}-{kind}-{number}')
    sound = KINDS[kind].sound
    content, other = sound(rng), sound(rng)
    if number < 0:
        return content
    if rng.random() < 0.5:
        return mutate_inside(kind, content, other, rng)
    return mutate(content, other, rng)


# -- running ---------------------------------------------------------------


class OutOfBounds(BaseException):
    """An input took too long, or a reader did what it may not."""


def watch(event: str, args: tuple[Any, ...]) -> None:
    """Audit hook of a child: readers only read."""
    if not watch.on:  # type: ignore[attr-defined]
        return
    writes = event == 'open' and (
        (isinstance(args[1], str) and set(args[1]) & set('wax+'))
        or (isinstance(args[2], int) and args[2] & (os.O_WRONLY | os.O_RDWR))
    )
    if event.startswith(FORBIDDEN) or writes:
        watch.on = False  # type: ignore[attr-defined]
        raise OutOfBounds(f'{event}{args!r:.200}')


watch.on = False  # type: ignore[attr-defined]


def alarm(*_: Any) -> None:
    """Handler of SIGALRM."""
    raise OutOfBounds(f'more than {SECONDS} s')


def judge(read: Callable[[str], Any], path: str) -> str:
    """Read a file; return 'ok', 'refused', or what went wrong."""
    try:
        watch.on = True  # type: ignore[attr-defined]
        read(path)
        return 'ok'
    except DataFileError as error:
        text = str(error)
        if not text.startswith(f'{path}: '):
            return f'an error without the name of the file: {text[:200]}'
        return 'refused' if len(text) < 5000 else f'{len(text)} letters'
    except OutOfBounds as error:
        return str(error)
    except BaseException as error:
        return f'{type(error).__name__}: {str(error)[:200]}'
    finally:
        watch.on = False  # type: ignore[attr-defined]


def child(pipe: Connection, seed: int) -> None:
    """Read inputs, by (kind, number), until there are no more."""
    warnings.simplefilter('ignore')
    torch.set_num_threads(1)
    os.nice(10)
    os.close(1)
    os.close(2)
    os.open(os.devnull, os.O_WRONLY)
    os.open(os.devnull, os.O_WRONLY)
    sys.dont_write_bytecode = True
    for kind in KINDS:  # Import what is imported late, before the limits.
        run_one(kind, -1, seed, 0)
    with open('/proc/self/statm') as file:
        used = int(file.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + BYTES, used + BYTES))
    signal.signal(signal.SIGALRM, alarm)
    sys.addaudithook(watch)
    while True:
        task = pipe.recv()
        if task is None:
            return
        begin = time.monotonic()
        kind, number = task
        verdicts = run_one(kind, number, seed)
        pipe.send((verdicts, time.monotonic() - begin))


def run_one(
    kind: str, number: int, seed: int, seconds: int = SECONDS
) -> list[str]:
    """The verdicts of all readers on an input; 0 seconds: no bound."""
    content = make_input(kind, number, seed)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, f'input{KINDS[kind].ending}')
        path.write_bytes(content)
        Image.new('RGB', (8, 6)).save(f'{path}.jpg')
        verdicts = []
        for read in KINDS[kind].readers:
            signal.alarm(seconds)
            verdicts.append(judge(read, str(path)))
            signal.alarm(0)
        return [verdict.replace(folder, '') for verdict in verdicts]


class Child:
    """A process that reads inputs, and is replaced when it dies."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.start()

    def start(self) -> None:
        """Start a new process."""
        context = multiprocessing.get_context('fork')
        self.pipe, theirs = context.Pipe()
        self.process = context.Process(
            target=child, args=(theirs, self.seed), daemon=True
        )
        self.process.start()
        theirs.close()

    def read(self, kind: str, number: int) -> tuple[list[str], float]:
        """Return the verdicts on an input, and the seconds that it took."""
        self.pipe.send((kind, number))
        limit = 2 * SECONDS * len(KINDS[kind].readers)
        try:
            if self.pipe.poll(limit):
                found: tuple[list[str], float] = self.pipe.recv()
                return found
            verdict = f'does not stop in {limit} s'
        except (EOFError, ConnectionError):
            self.process.join()
            verdict = f'killed the process ({self.process.exitcode})'
        self.process.kill()
        self.process.join()
        self.start()
        return [verdict], float(limit)


def main() -> None:
    """Fuzz."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument('--inputs', type=int, default=20_000)
    parser.add_argument('--seed', type=int, default=0)
    parser.add_argument('--readers', help=f'of {",".join(KINDS)}')
    parser.add_argument('--keep', type=Path, help='folder of failing inputs')
    args = parser.parse_args()
    kinds = args.readers.split(',') if args.readers else list(KINDS)
    reader, begin = Child(args.seed), time.monotonic()
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in kinds}
    slowest = dict.fromkeys(kinds, 0.0)
    for i in range(args.inputs):
        kind, number = kinds[i % len(kinds)], i // len(kinds)
        verdicts, seconds = reader.read(kind, number)
        slowest[kind] = max(slowest[kind], seconds)
        wrong = sorted(set(verdicts) - {'ok', 'refused'})
        counts[kind]['inputs'] += 1
        counts[kind]['failed' if wrong else min(verdicts)] += 1
        if wrong:
            print(f'{kind} {number}: {"; ".join(wrong)}', flush=True)
        if wrong and args.keep:
            args.keep.mkdir(parents=True, exist_ok=True)
            name = f'{kind}-{args.seed}-{number}{KINDS[kind].ending}'
            content = make_input(kind, number, args.seed)
            Path(args.keep, name).write_bytes(content)
        if (i + 1) % 2000 == 0:
            print(
                f'{i + 1} inputs, {time.monotonic() - begin:.0f} s', flush=True
            )
    table = PrettyTable(['reader', 'inputs', 'read', 'refused', 'failed',
                         'slowest (s)'])  # fmt: skip
    for kind, found in counts.items():
        table.add_row(
            [kind, found['inputs'], found['ok'], found['refused'],
             found['failed'], f'{slowest[kind]:.2f}']
        )  # fmt: skip
    print(table)
    if any(found['failed'] for found in counts.values()):
        sys.exit(1)


if __name__ == '__main__':
    main()

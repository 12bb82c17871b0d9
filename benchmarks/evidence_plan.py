"""What a plan of runs says, resolved: configs, keys and matched widths.

A plan is a Python file of plain data:

    data_root   where the data are, unless --data-root says otherwise
    prepare     the commands that make the data, shown if they are missing
    shape       height and width of an image, for counting operations
    arms        name -> dict(config=FILE, options={dotted key: value}, and
                maybe like=dict(arm=NAME, count='parameters' or 'flops',
                setting='channels')), which finds the value of a setting with
                which neck and head have as many as those of another arm
    labels      name -> options: which labels are used
    parts       name -> None: trained on all images, tested on the test set;
                or dict(fraction=.2, every=10): trained on the rest of a
                random fraction of the training images that follows from the
                run's seed, tested on that fraction by its *visible* labels,
                also after every so many epochs
    runs        (arm, labels, part, seed) in the order of their importance
    shared      options of all runs
    tables      list of dict(labels=[...], part=..., against=[arms],
                reference=[arms])

'{data_root}' and '{work_dir}' in options stand for these.
"""

import copy
import functools
import hashlib
import json
import re
import runpy
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from mmengine.config import Config
from mmengine.registry import init_default_scope

from mmprotomtl.datasets.labels_used import label_facts
from mmprotomtl.engine import load_config
from mmprotomtl.registry import DATASETS, MODELS
from mmprotomtl.utils.errors import check_choice

ROOT = Path(__file__).resolve().parents[1]
#: Parts of a config that define a run.
DEFINING = (
    'tasks', 'only_task', 'model', 'train_dataloader', 'optim_wrapper',
    'param_scheduler', 'train_cfg', 'custom_hooks', 'default_hooks',
    'test_dataloader', 'test_cfg', 'test_evaluator', 'randomness',
    'load_from', 'allow_partial',
)  # fmt: skip
#: Ends and beginnings of the settings in them that do not: who loads, where
#: things are kept, what is logged.
NOT_DEFINING = (
    'num_workers', 'persistent_workers', 'prefetch_factor', 'pin_memory',
    'folder', 'out_file', 'val_interval',
)  # fmt: skip
NOT_DEFINING_HOOKS = (
    'logger', 'timer', 'checkpoint', 'visualization', 'labelled_loss',
)  # fmt: skip


class Run(NamedTuple):
    """A run of a plan.

    Attributes:
        settings: Dotted key -> value of all that defines it, without folders.
        config: Its complete config.
        key: Hash of the settings. Results with another key are not of it.
    """

    arm: str
    labels: str
    part: str
    seed: int
    settings: dict[str, Any]
    config: Config
    key: str

    @property
    def name(self) -> str:
        """For files and messages."""
        return run_name(self.arm, self.labels, self.part, self.seed)


def run_name(arm: str, labels: str, part: str, seed: int) -> str:
    """The name of a run."""
    return f'{arm}_{labels}_{part}_seed{seed}'


class Plan:
    """A plan, see the text of this module.

    Args:
        file: The Python file.
        data_root: Replaces that of the plan.
        work_dir: What ``{work_dir}`` stands for.

    Raises:
        ValueError: The plan names an arm, labels or a part that it lacks.
    """

    def __init__(
        self, file: str | Path, data_root: str | None, work_dir: str | Path
    ) -> None:
        self.name = Path(file).stem
        self.said = runpy.run_path(str(file))
        self.root = str(data_root or self.said['data_root'])
        self.words = dict(data_root=self.root, work_dir=str(work_dir))
        # Model and data sets are found in our registries.
        init_default_scope('mmprotomtl')
        for run in self.said['runs']:
            for what, value in zip(
                ('arms', 'labels', 'parts'), run[:3], strict=True
            ):
                check_choice(f'{file}: runs, {what}', value, self.said[what])

    def runs(self, only: str = '') -> Iterator[Run]:
        """The runs, in order.

        Args:
            only: Pattern of the names of the runs that are wanted.

        Raises:
            ValueError: A setting is wrong, or no width matches.
            DataFileError: The data are not there.
        """
        for arm, labels, part, seed in self.said['runs']:
            if re.search(only, run_name(arm, labels, part, seed)):
                yield self.run(arm, labels, part, seed)

    def run(self, arm: str, labels: str, part: str, seed: int) -> Run:
        """Resolve a run."""
        cfg = copy.deepcopy(self._config(arm, labels))
        cfg.randomness = dict(cfg.get('randomness') or {}, seed=seed)
        if self.said['parts'][part] is not None:
            _carve(cfg, seed=seed, **self.said['parts'][part])
        settings = self._settings(cfg)
        text = json.dumps(settings, sort_keys=True)
        key = hashlib.sha256(text.encode()).hexdigest()[:16]
        return Run(arm, labels, part, seed, settings, cfg, key)

    @functools.cache  # noqa: B019 - a plan lives as long as its process.
    def _config(self, arm: str, labels: str) -> Config:
        options = {**self.arm_options(arm), **self.said['labels'][labels]}
        return self._load(arm, options)

    def _load(self, arm: str, options: Mapping[str, Any]) -> Config:
        """The complete config of an arm."""
        options = {
            'data_root': self.root,
            **self.said.get('shared', {}),
            **options,
        }
        file = ROOT / self.said['arms'][arm]['config']
        if 'data_root' not in Config.fromfile(file):
            del options['data_root']
        cfg = load_config(file, _worded(options, self.words))
        for name in ('val_dataloader', 'val_evaluator', 'val_cfg'):
            cfg[name] = None
        return cfg

    @functools.cache  # noqa: B019
    def arm_options(self, arm: str) -> dict[str, Any]:
        """The options of an arm, a width that follows from another included.

        Raises:
            ValueError: No value matches within 2 percent.
        """
        said = self.said['arms'][arm]
        options, like = dict(said.get('options', {})), said.get('like')
        if like is not None:
            count, setting = like['count'], like['setting']
            wanted = self.size(like['arm'])[count]

            def size(value: int) -> int:
                return self._size(arm, {**options, setting: value})[count]

            options[setting] = matched(size, wanted, f'arms.{arm}.{setting}')
        return options

    @functools.cache  # noqa: B019 - a plan lives as long as its process.
    def size(self, arm: str) -> dict[str, int]:
        """Parameters, and operations for an image, of an arm's neck and
        head.
        """
        return self._size(arm, self.arm_options(arm))

    def _size(self, arm: str, options: Mapping[str, Any]) -> dict[str, int]:
        count = runpy.run_path(
            str(ROOT / 'tools/analysis_tools/get_flops.py')
        )['count']
        model = MODELS.build(self._load(arm, options).model)
        counted = count(model, self.said['shape'])
        return {
            what: counted['neck'][what] + counted['head'][what]
            for what in ('parameters', 'flops')
        }

    def _settings(self, cfg: Config) -> dict[str, Any]:
        """Dotted key -> value of all that defines a run."""
        defining = {
            key: value
            for key, value in cfg.to_dict().items()
            if key in DEFINING
        }
        for name in NOT_DEFINING_HOOKS:
            (defining.get('default_hooks') or {}).pop(name, None)
        settings = dict(_flat(json.loads(json.dumps(defining, default=str))))
        settings = {
            key: value
            for key, value in settings.items()
            if key.split('.')[-1] not in NOT_DEFINING
        }
        for name in ('train', 'test'):
            text = json.dumps(cfg[f'{name}_dataloader'].dataset, default=str)
            settings[f'{name}_data'] = _data(text, self.root)
        return without_folders(settings, {'{data_root}': self.root})


def matched(size: Callable[[int], int], wanted: int, what: str) -> int:
    """The setting with which a network has the wanted size.

    Args:
        size: Size for a value of the setting; grows with it.
        wanted: The size.
        what: The setting, for errors.

    Raises:
        ValueError: No value matches within 2 percent.
    """
    low, high = 1, 2
    while size(high) < wanted:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if size(middle) < wanted else (low, middle)
    best = min((low, high), key=lambda value: abs(size(value) - wanted))
    found = size(best)
    if abs(found - wanted) > 0.02 * wanted:
        raise ValueError(
            f'{what}: with {best} there are {found}, wanted are {wanted}; no '
            'value is within 2 percent'
        )
    return best


def without_folders(value: Any, names: Mapping[str, str]) -> Any:
    """Replace folders in all strings by names, as ``{data_root}``."""
    if isinstance(value, Mapping):
        return {k: without_folders(v, names) for k, v in value.items()}
    if isinstance(value, list):
        return [without_folders(item, names) for item in value]
    if isinstance(value, str):
        for name, folder in names.items():
            value = value.replace(folder, name)
    return value


def _carve(cfg: Config, fraction: float, every: int, seed: int) -> None:
    """Test on a part of the training images, by its visible labels alone.

    The label mask is made for all images before some are left out, so the
    part has the labels that training on all images would see.
    """
    train = cfg.train_dataloader.dataset
    kept = dict(fraction=fraction, seed=seed)
    # Split, label mask and files are those of the training set.
    test = copy.deepcopy(train)
    test.pipeline, test.test_mode = cfg.test_dataloader.dataset.pipeline, True
    train.holdout = dict(kept, part='train')
    test.holdout = dict(kept, part='val')
    cfg.test_dataloader.dataset = test
    cfg.val_dataloader = cfg.test_dataloader
    cfg.val_evaluator, cfg.val_cfg = cfg.test_evaluator, dict()
    cfg.train_cfg.val_interval = every


@functools.cache
def _data(dataset: str, root: str) -> dict[str, Any]:
    """What a data set is made of.

    Args:
        dataset: Its config as JSON.
        root: Folder that does not matter.

    Returns:
        Its number of images, and hashes of the names and sizes of its files
        and of the labels that are left in it.
    """
    data = DATASETS.build(json.loads(dataset))
    state = hashlib.sha256()
    for index in range(len(data)):
        info = data.get_data_info(index)
        for file in (info['image'], *info['labels'].values()):
            path = Path(file.path)
            size = path.stat().st_size if path.is_file() else None
            state.update(f'{file.path.removeprefix(root)} {size}\n'.encode())
    return dict(
        images=len(data),
        files=state.hexdigest(),
        labels=label_facts(data)['labels_used'],
    )


def _worded(value: Any, words: Mapping[str, Any]) -> Any:
    """Put words into all strings of options."""
    if isinstance(value, Mapping):
        return {k: _worded(v, words) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(_worded(item, words) for item in value)
    if isinstance(value, str):
        for word, meant in words.items():
            if value == f'{{{word}}}':
                return meant
            value = value.replace(f'{{{word}}}', str(meant))
    return value


def _flat(value: Any, place: str = '') -> Iterator[tuple[str, Any]]:
    """Dotted key and value of all that is neither dict nor list."""
    items: Any = None
    if isinstance(value, dict):
        items = value.items()
    elif isinstance(value, list):
        items = enumerate(value)
    if items is None or not value:
        yield place, value
        return
    for key, inner in items:
        yield from _flat(inner, f'{place}.{key}' if place else str(key))

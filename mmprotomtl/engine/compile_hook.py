"""torch.compile for the parts that gain from it."""

from collections.abc import Sequence

import torch
from mmengine.hooks import Hook
from mmengine.runner import Runner
from torch import nn

from mmprotomtl.registry import HOOKS
from mmprotomtl.utils.dist import unwrap


@HOOKS.register_module()
class CompileHook(Hook):
    """Compiles parts of the model, in place, before training or testing.

    mmengine's ``compile=True`` compiles the whole training step, labels,
    optimizer and all. Which images have labels of which task is another list
    at every step, so that is compiled again and again. The parts before the
    head see the same shapes at every step.

    Args:
        parts: Names of the modules to compile.
        leave: Modules in them that stay as they are; the codebook counts its
            steps in Python. Those that the model lacks are skipped.
        **kwargs: For :func:`torch.compile` (``backend``, ``mode``, ...).

    Raises:
        ValueError: The model has no such part; when it starts.
    """

    def __init__(
        self,
        parts: Sequence[str] = ('backbone', 'neck'),
        leave: Sequence[str] = ('neck.quantizer',),
        **kwargs,
    ) -> None:
        self.parts = tuple(parts)
        self.leave = tuple(leave)
        self.kwargs = kwargs
        self._done = False

    def before_run(self, runner: Runner) -> None:
        """Compile, once."""
        if self._done:
            return
        self._done = True
        modules: dict[str, nn.Module] = dict(
            unwrap(runner.model).named_modules()
        )
        missing = [name for name in self.parts if name not in modules]
        if missing:
            children = [n for n in modules if n and '.' not in n]
            raise ValueError(
                f'CompileHook.parts={self.parts!r}: the model has no '
                f'{", ".join(missing)}; it has {", ".join(children)}'
            )
        for name in self.leave:
            if name in modules:
                part = modules[name]
                part.forward = torch.compiler.disable(part.forward)
        for name in self.parts:
            modules[name].compile(**self.kwargs)
        runner.logger.info(
            f'{", ".join(self.parts)}: compiled at their first use, which '
            'takes a while'
        )

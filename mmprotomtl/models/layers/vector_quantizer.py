"""Vector quantisation of feature maps by a codebook."""

from typing import Any, NamedTuple

import torch
from mmengine.model import BaseModule
from torch import Tensor, nn
from torch.nn import functional as F

from mmprotomtl.registry import MODELS
from mmprotomtl.utils.dist import gather_rows, sum_over_ranks
from mmprotomtl.utils.errors import check_choice


class Quantized(NamedTuple):
    """A quantised feature map.

    Attributes:
        codes: The nearest code of each position, ``N x C x H x W``.
        indices: Index of this code, int64 ``N x H x W``.
    """

    codes: Tensor
    indices: Tensor


@MODELS.register_module()
class VectorQuantizer(BaseModule):
    """Replace the feature at each position by the nearest code.

    This is the codebook Z of arXiv 2601.07474: f_q = z_k with k =
    argmin_k |f - z_k|. The input gets no gradient through the look-up; add the
    result to the input, as the paper does (f_i = f_e + f_q). Only chosen codes
    are updated, so codebooks tend to collapse to few codes; monitor
    :meth:`usage`. The paper does not specify how codes are trained: ``update``
    and the arguments after it are choices of this implementation.

    Distances are computed in float32, even under autocast, for a chunk of
    positions at a time.

    Args:
        num_codes: Number of codes, K.
        code_dim: Channels of a code, c.
        update: ``gradient``: codes are parameters, trained by the losses;
            ``ema``: codes are moving averages of the features that chose
            them, identical on all ranks.
        distance: ``euclidean`` or ``cosine``.
        kmeans_steps: Number of k-means steps that initialise the codes from
            the first training batch; 0: random initialisation.
        replace_below: In training, a code that is chosen less often per step
            than this (as a moving average) is replaced by a random feature of
            the batch; 0: never.
        decay: Decay of all moving averages.
        chunk_size: Number of positions per chunk.

    Raises:
        ValueError: ``update`` or ``distance`` is unknown, or there is no code.
    """

    def __init__(
        self,
        num_codes: int = 4096,
        code_dim: int = 512,
        update: str = 'gradient',
        distance: str = 'euclidean',
        kmeans_steps: int = 0,
        replace_below: float = 0.0,
        decay: float = 0.99,
        chunk_size: int = 8192,
        init_cfg: dict | None = None,
    ) -> None:
        super().__init__(init_cfg)
        check_choice('VectorQuantizer.update', update, ('gradient', 'ema'))
        check_choice(
            'VectorQuantizer.distance', distance, ('euclidean', 'cosine')
        )
        if num_codes < 1:
            raise ValueError(
                f'VectorQuantizer.num_codes={num_codes} is not allowed: it '
                'must be 1 or more'
            )
        self.num_codes = num_codes
        self.code_dim = code_dim
        self.update = update
        self.distance = distance
        self.kmeans_steps = kmeans_steps
        self.replace_below = replace_below
        self.decay = decay
        self.chunk_size = chunk_size
        codes = torch.randn(num_codes, code_dim) / code_dim**0.5
        if update == 'gradient':
            self.codes = nn.Parameter(codes)
        else:
            self.register_buffer('codes', codes)
            self.register_buffer('code_sum', codes.clone())
        self.register_buffer('code_count', torch.ones(num_codes))
        # Number of training steps. It seeds random choices, so that all ranks
        # and a resumed run make the same ones.
        self.register_buffer('steps', torch.zeros((), dtype=torch.long))
        self._steps: int | None = None
        # How often each code was chosen since the last call of `usage`.
        self.register_buffer(
            'chosen', torch.zeros(num_codes), persistent=False
        )

    def forward(self, feature: Tensor) -> Quantized:
        """Quantise a feature map; in training, also update the codebook.

        Args:
            feature: ``N x c x H x W``.
        """
        batch, _, height, width = feature.shape
        rows = feature.detach().movedim(1, -1).reshape(-1, self.code_dim)
        rows = rows.float()
        step = self._next_step() if self.training else None
        if step == 0 and self.kmeans_steps:
            self._start_with_kmeans(rows)
        indices = self.nearest(rows)
        codes = F.embedding(indices, self.codes.to(feature.dtype))
        if step is not None:
            self._follow(rows, indices, step)
        return Quantized(
            codes.reshape(batch, height, width, -1).movedim(-1, 1),
            indices.reshape(batch, height, width),
        )

    @torch.no_grad()
    def nearest(self, rows: Tensor, codes: Tensor | None = None) -> Tensor:
        """Return the index of the nearest code of each row.

        Args:
            rows: ``M x c``.
            codes: ``K x c``; None: the codebook.

        Returns:
            int64 ``M``.
        """
        with torch.autocast(rows.device.type, enabled=False):
            codes = (self.codes if codes is None else codes).float()
            if self.distance == 'cosine':
                # Rows need not be normalised: their length does not change
                # which code is nearest in angle.
                codes = F.normalize(codes, dim=1)
                offset = codes.new_zeros(len(codes))
            else:
                # (|f - z|^2 - |f|^2) / 2; |f|^2 is the same for all codes.
                offset = codes.square().sum(1) / 2
            chunks = [
                torch.addmm(offset, chunk, codes.t(), alpha=-1).argmin(1)
                for chunk in rows.float().split(self.chunk_size)
            ]
            return torch.cat(chunks)

    def _next_step(self) -> int:
        """Return the number of this step, without a device synchronisation."""
        if self._steps is None:
            self._steps = int(self.steps)
        step, self._steps = self._steps, self._steps + 1
        self.steps += 1
        return step

    def _load_from_state_dict(self, *args: Any, **kwargs) -> None:
        self._steps = None
        super()._load_from_state_dict(*args, **kwargs)

    def _count(self, indices: Tensor) -> Tensor:
        """Count how often each code is chosen, ``K``.

        Unlike ``bincount``, this does not synchronise with the GPU.
        """
        ones = torch.ones_like(indices, dtype=torch.float32)
        count = ones.new_zeros(self.num_codes)
        return count.index_add_(0, indices, ones)

    @torch.no_grad()
    def _follow(self, rows: Tensor, indices: Tensor, step: int) -> None:
        """Update counts and moving averages; replace unused codes."""
        count = sum_over_ranks(self._count(indices))
        self.chosen += count
        self.code_count.lerp_(count, 1 - self.decay)
        if self.update == 'ema':
            total = torch.zeros_like(self.code_sum)
            total.index_add_(0, indices, rows)
            self.code_sum.lerp_(sum_over_ranks(total), 1 - self.decay)
            # A code that was not chosen for a long time does not move.
            alive = self.code_count[:, None] > 1e-3
            mean = self.code_sum / self.code_count[:, None].clamp(min=1e-3)
            self.codes.copy_(torch.where(alive, mean, self.codes))
        if self.replace_below:
            self._replace_dead(rows, step)

    def _replace_dead(self, rows: Tensor, step: int) -> None:
        """Replace each unused code by a random feature of the batch."""
        dead = self.code_count < self.replace_below
        fresh = self._sample(rows, self.num_codes, step)
        self.codes.copy_(torch.where(dead[:, None], fresh, self.codes))
        # A new code starts with a count that stays above the limit for 20
        # steps, so that it is not replaced again at once.
        start = self.replace_below / self.decay**20
        self.code_count.masked_fill_(dead, start)
        if self.update == 'ema':
            self.code_sum.copy_(
                torch.where(dead[:, None], fresh * start, self.code_sum)
            )

    def _sample(self, rows: Tensor, number: int, step: int) -> Tensor:
        """Draw random features from the batches of all ranks.

        The result, ``number x c``, is identical on all ranks.
        """
        generator = torch.Generator().manual_seed(step)
        limit = min(len(rows), number)
        draw = torch.randperm(len(rows), generator=generator)[:limit]
        pool = gather_rows(rows[draw.to(rows.device)])
        draw = torch.randint(len(pool), (number,), generator=generator)
        return pool[draw.to(rows.device)]

    @torch.no_grad()
    def _start_with_kmeans(self, rows: Tensor) -> None:
        """Initialise the codes by k-means (Lloyd) on the first batch."""
        codes = self._sample(rows, self.num_codes, step=0)
        for _ in range(self.kmeans_steps):
            indices = self.nearest(rows, codes)
            total = torch.zeros_like(codes).index_add_(0, indices, rows)
            total = sum_over_ranks(total)
            count = sum_over_ranks(self._count(indices))[:, None]
            codes = torch.where(count > 0, total / count.clamp(min=1), codes)
        self.codes.copy_(codes)
        if self.update == 'ema':
            self.code_sum.copy_(codes)
            self.code_count.fill_(1)

    def usage(self) -> dict[str, float]:
        """Return statistics of the codebook since the last call.

        This synchronises with the device.

        Returns:
            ``usage``: fraction of codes that were chosen at least once;
            ``perplexity``: exponential of the entropy of the chosen codes,
            1 .. ``num_codes`` (0 if none was chosen).
        """
        share = self.chosen / self.chosen.sum().clamp(min=1)
        entropy = -(share * share.clamp(min=1e-12).log()).sum()
        result = dict(
            usage=(self.chosen > 0).float().mean().item(),
            perplexity=entropy.exp().item() if self.chosen.any() else 0.0,
        )
        self.chosen.zero_()
        return result


def build_codebook(cfg: dict | None, channels: int) -> VectorQuantizer | None:
    """Build the codebook; None if it has no codes.

    Args:
        cfg: Config of the codebook, ``VectorQuantizer``.
        channels: Default of ``code_dim``.

    Raises:
        ValueError: There are no codes, but settings of how they are trained.
    """
    cfg = {'type': 'VectorQuantizer', 'code_dim': channels, **(cfg or {})}
    if cfg.get('num_codes') != 0:
        return MODELS.build(cfg)
    useless = sorted(set(cfg) - {'type', 'num_codes', 'code_dim'})
    if useless:
        raise ValueError(
            f'neck.quantizer.{useless[0]}={cfg[useless[0]]!r} is not allowed '
            'with neck.quantizer.num_codes=0: there is no codebook; leave '
            f'{", ".join(useless)} out'
        )
    return None

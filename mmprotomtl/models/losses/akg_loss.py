"""Association knowledge generating (AKG) loss of the task prototypes."""

import math

import torch
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional as F

from mmprotomtl.registry import MODELS
from mmprotomtl.utils.dist import sum_over_ranks


@MODELS.register_module()
class AKGLoss(BaseModule):
    """AKG loss, L_akg = L_tke + L_tc (arXiv 2601.07474).

    L_tke (task knowledge embedding) is the cross-entropy between the
    affinities of task t's features to the prototypes and the one-hot vector of
    t, averaged over all positions. L_tc (task consistency) is a triplet loss
    on features that are aggregated over the batch. Neither needs labels.

    The paper gives no details of L_tc. In this implementation the anchor is
    the mean feature of one task in one image, the positive is the mean of the
    same task over the batch (all ranks), and the negative is the nearest mean
    of another task. The distance is 1 - cosine similarity.

    Args:
        margin: Margin of the triplet loss.
        tke_weight: Weight of L_tke.
        tc_weight: Weight of L_tc.
        tke_enough: Affinity to the task's own prototypes, above 0 and up to 1,
            at which a position adds nothing to L_tke any more; 1: never, as in
            the paper. At a temperature of 1 and one prototype a task, the
            affinity cannot exceed e^2 / (e^2 + T - 1).
        prototypes_per_task: Number of prototypes of a task; the neck fills it
            in.

    Raises:
        ValueError: ``tke_enough`` is not above 0 and up to 1, or it is set
            without L_tke.
    """

    def __init__(
        self,
        margin: float = 0.3,
        tke_weight: float = 1.0,
        tc_weight: float = 1.0,
        tke_enough: float = 1.0,
        prototypes_per_task: int = 1,
    ) -> None:
        super().__init__()
        if not 0 < tke_enough <= 1:
            raise ValueError(
                f'akg_loss.tke_enough={tke_enough} is not allowed: it must be '
                'above 0 and up to 1'
            )
        if tke_enough < 1 and not tke_weight:
            raise ValueError(
                f'akg_loss.tke_enough={tke_enough} is not allowed with '
                'akg_loss.tke_weight=0: there is no L_tke; leave it at 1'
            )
        self.tke_enough = tke_enough
        self.prototypes_per_task = prototypes_per_task
        self.margin = margin
        self.tke_weight = tke_weight
        self.tc_weight = tc_weight

    def forward(self, logits: Tensor, features: Tensor) -> dict[str, Tensor]:
        """Compute both losses.

        Args:
            logits: Cosine similarities divided by the temperature, ``T x N x
                L x S``: task, image, token, prototype. The first
                ``prototypes_per_task`` prototypes belong to the first task,
                the next to the second, and so on.
            features: Projected features from which the similarities were
                computed, averaged over the tokens, ``T x N x d``.

        Returns:
            ``tke`` and ``tc``, weighted scalars.
        """
        with torch.autocast(logits.device.type, enabled=False):
            return dict(
                tke=self.tke_weight * self.embedding(logits.float()),
                tc=self.tc_weight * self.consistency(features.float()),
            )

    def embedding(self, logits: Tensor) -> Tensor:
        """Compute L_tke = - mean log sum_k softmax(S_t / temperature)[k].

        The sum is over the prototypes k of task t. With ``tke_enough`` e, the
        loss of a position is max(0, log e - log sum).
        """
        per_task = self.prototypes_per_task
        own = torch.stack(
            [
                part.log_softmax(-1)[..., t * per_task : (t + 1) * per_task]
                for t, part in enumerate(logits)
            ]
        ).logsumexp(-1)
        missing = math.log(self.tke_enough) - own
        if self.tke_enough < 1:
            missing = F.relu(missing)
        return missing.mean()

    def consistency(self, features: Tensor) -> Tensor:
        """Compute L_tc, the triplet loss.

        L_tc = mean max(0, d(anchor, positive) - d(anchor, negative) +
        margin); it is 0 if there is a single task.
        """
        tasks = len(features)
        anchor = F.normalize(features, dim=-1)
        if tasks == 1:
            return anchor.sum() * 0
        mean = F.normalize(sum_over_ranks(anchor.sum(1), True), dim=-1)
        distance = 1 - anchor @ mean.t()  # T x N x T
        own = torch.eye(tasks, dtype=torch.bool, device=mean.device)[:, None]
        positive = distance.masked_fill(~own, 0).sum(-1)
        negative = distance.masked_fill(own, torch.inf).amin(-1)
        return F.relu(positive - negative + self.margin).mean()

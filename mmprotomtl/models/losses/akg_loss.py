"""Association knowledge generating (AKG) loss of the task prototypes."""

import torch
from mmengine.model import BaseModule
from torch import Tensor
from torch.nn import functional as F

from mmprotomtl.registry import MODELS
from mmprotomtl.utils.dist import sum_over_ranks


@MODELS.register_module()
class AKGLoss(BaseModule):
    """L_akg = L_tke + L_tc (arXiv 2601.07474).

    L_tke, task knowledge embedding: cross-entropy between the affinities of
    task t's feature to the prototypes and the one-hot of t, at every position
    of every image. L_tc, task consistency: triplet loss on batch-aggregated
    task features. Neither needs a label.

    The paper gives no details of L_tc. Ours: an anchor is the mean feature of
    one task in one image, the positive is the mean of its task over the batch
    (all ranks), the negative the nearest of the other tasks' means; the
    distance is 1 - cosine.

    Args:
        margin: Of the triplet loss.
        tke_weight: Factor of L_tke.
        tc_weight: Factor of L_tc.
    """

    def __init__(
        self,
        margin: float = 0.3,
        tke_weight: float = 1.0,
        tc_weight: float = 1.0,
    ) -> None:
        super().__init__()
        self.margin = margin
        self.tke_weight = tke_weight
        self.tc_weight = tc_weight

    def forward(self, logits: Tensor, features: Tensor) -> dict[str, Tensor]:
        """Both losses.

        Args:
            logits: S / temperature, ``T x N x L x S``; S_tt' is the affinity
                of task t's feature to prototype t'.
            features: Mean over the tokens of the features that the
                affinities were taken of, ``T x N x d``.

        Returns:
            ``tke`` and ``tc``, scalars.
        """
        with torch.autocast(logits.device.type, enabled=False):
            return dict(
                tke=self.tke_weight * self.embedding(logits.float()),
                tc=self.tc_weight * self.consistency(features.float()),
            )

    def embedding(self, logits: Tensor) -> Tensor:
        """L_tke = - mean log softmax_t(S_t / temperature)."""
        own = torch.stack(
            [part.log_softmax(-1)[..., t] for t, part in enumerate(logits)]
        )
        return -own.mean()

    def consistency(self, features: Tensor) -> Tensor:
        """L_tc = mean max(0, d(anchor, positive) - d(anchor, negative) +
        margin); 0 with a single task.
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

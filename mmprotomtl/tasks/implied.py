"""What the label of a task says of other tasks."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np
from torch import Tensor

from mmprotomtl.utils.camera import Camera


class Implied:
    """The part of :class:`~mmprotomtl.tasks.Task` that is about labels which
    follow from labels of other tasks, without any guess.
    """

    #: What a label of this task can be made of where the label of another task
    #: implies it, see :meth:`implies`; None: of nothing.
    made_of: ClassVar[str | None] = None
    #: What a visible label of another task (its :attr:`made_of`) says of this
    #: task's prediction, see :meth:`guide_loss`; None: nothing.
    guided_by: ClassVar[str | None] = None
    #: Factor of :meth:`guide_loss`; 0: it is not computed.
    guide_weight: float = 0.0

    def implies(self, has_camera: bool) -> Mapping[str, str]:
        """What follows from a label of this task, without any guess.

        The values are those that a task says its own labels can be made of
        (:attr:`made_of`), so that no task has to know another.

        Args:
            has_camera: Whether the intrinsics of the camera are known.

        Returns:
            What follows -> what is missing for it; empty: nothing is.
            ``normals``: unit vectors ``H x W x 3`` as of
            :func:`~mmprotomtl.utils.camera.normals_from_depth`;
            ``boundaries``, ``people``: 0 or 1, ``H x W`` uint8, 255 = not
            known.
        """
        del has_camera
        return {}

    def imply(
        self, what: str, label: np.ndarray, camera: Camera | None
    ) -> np.ndarray:
        """Compute what follows from a label.

        Args:
            what: A key of :meth:`implies` for which nothing is missing.
            label: A canonical label of this task.
            camera: Of an image of the label's size; None: unknown.

        Raises:
            NotImplementedError: The class says that something follows from
                its labels, but not how.
        """
        raise NotImplementedError(
            f'{type(self).__name__}.implies names {what!r}, so it needs imply'
        )

    def cannot_derive(self) -> str:
        """Which setting of this task is missing before its labels can be
        made of :attr:`made_of`; empty: none.
        """
        return ''

    def derive(self, implied: np.ndarray) -> np.ndarray:
        """Make a label of what the visible label of another task implies.

        Args:
            implied: What :meth:`imply` of the other task gave, of the kind
                :attr:`made_of`.

        Returns:
            A label as a file of this task would hold it; what does not follow
            is ``invalid``.
        """
        return implied

    def guide_loss(
        self, logits: Tensor, label: Tensor, rays: Tensor
    ) -> tuple[Tensor, Tensor]:
        """How far a prediction is from what the visible label of another task
        says of it, on images without a label of this task.

        Args:
            logits: ``N x C x H x W``, at the label's size.
            label: Of the other task, ``N x L x H x W``.
            rays: Unit vectors from the camera through the pixels, ``N x 3 x H
                x W``; 0 where there is none.

        Returns:
            As :meth:`loss`.

        Raises:
            NotImplementedError: The class has :attr:`guided_by`, but not
                this.
        """
        raise NotImplementedError(
            f'{type(self).__name__}.guided_by is {self.guided_by!r}, so it '
            'needs guide_loss'
        )

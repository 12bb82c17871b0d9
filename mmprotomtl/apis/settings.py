"""What a call of the inferencer is asked to do with predictions."""

from dataclasses import dataclass
from pathlib import Path

from mmprotomtl.utils.files import make_output_folder
from mmprotomtl.visualization import check_display


@dataclass(frozen=True)
class Settings:
    """Arguments of a call, see ``MultiTaskInferencer.stream``."""

    channel_order: str = 'bgr'
    return_vis: bool = True
    show: bool = False
    wait_time: float = 0
    out_dir: str | Path = ''
    img_out_dir: str | Path = ''
    pred_out_dir: str | Path = ''
    opacity: float | None = None

    @property
    def pictures(self) -> Path | None:
        """Folder of the pictures; None: they are not saved."""
        wanted = self.out_dir or self.img_out_dir
        return Path(self.out_dir, self.img_out_dir) if wanted else None

    @property
    def maps(self) -> Path | None:
        """Folder of the predictions; None: they are not saved."""
        wanted = self.pred_out_dir
        return Path(self.out_dir, self.pred_out_dir) if wanted else None

    @property
    def draws(self) -> bool:
        """Whether pictures are needed."""
        return self.return_vis or self.show or self.pictures is not None

    def check(self) -> None:
        """Refuse what cannot be done, before anything is computed.

        Raises:
            ValueError: There is no display to show on, or ``opacity`` is not
                allowed.
            OSError: A folder cannot be written to.
        """
        if self.opacity is not None and not 0 <= self.opacity <= 1:
            raise ValueError(
                f'opacity={self.opacity!r} is not allowed: choose 0 (the '
                'photo alone) .. 1 (the prediction alone)'
            )
        if self.show:
            check_display()
        for name, folder in (
            ('out_dir', self.pictures), ('pred_out_dir', self.maps),
        ):  # fmt: skip
            if folder is not None:
                make_output_folder(folder, name)

"""Check that the OpenMMLab packages are installed in supported versions."""

import importlib

from packaging.version import Version

#: Import name -> (lowest supported version, first version that is too new).
#: The OneDL and the upstream packages share these import names.
REQUIRED = {
    'mmengine': ('0.10.0', '2.0.0'),
    'mmcv': ('2.0.0', '3.0.0'),
    'mmseg': ('1.2.0', '2.0.0'),
    'mmpretrain': ('1.2.0', '2.0.0'),
}

_HOW_TO = """
Install one of the two lines of OpenMMLab (never both: they share their import
names), next to a matching pair of torch and torchvision:

    pip install torch torchvision
    pip install onedl-mmengine onedl-mmcv onedl-mmsegmentation onedl-mmpretrain

or, if you use torch 2.1 and numpy < 2, the upstream line:

    pip install -U openmim
    mim install mmengine 'mmcv>=2.0.0,<2.2.0' mmsegmentation mmpretrain
    pip install ftfy regex
"""


def check_requirements() -> None:
    """Check the versions of mmengine, mmcv, mmseg and mmpretrain.

    Raises:
        ImportError: A package is missing, fails to import or has an
            unsupported version; the message has the commands to install it.
    """
    for name, (lowest, too_new) in REQUIRED.items():
        try:
            found = importlib.import_module(name).__version__
        except (ImportError, AssertionError) as error:
            # Upstream mmseg and mmpretrain check the versions of their
            # dependencies with an assert when they are imported.
            raise ImportError(
                f'mmprotomtl needs {name}, which cannot be imported: {error}'
                f'\n{_HOW_TO}'
            ) from error
        version = Version(Version(found).base_version)
        if not Version(lowest) <= version < Version(too_new):
            raise ImportError(
                f'mmprotomtl needs {name}>={lowest},<{too_new}, found '
                f'{found}.\n{_HOW_TO}'
            )

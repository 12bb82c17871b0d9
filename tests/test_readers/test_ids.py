import pytest

from mmprotomtl.readers import read_ids
from mmprotomtl.utils.errors import DataFileError

#: What is in the file -> ids, or what the error says.
CASES = {
    'plain': (b'0001\n2008_000008\n', ['0001', '2008_000008']),
    'no line end at the end': (b'a\nb', ['a', 'b']),
    'line ends of Windows': (b'a\r\nb\r\n', ['a', 'b']),
    'byte-order mark': (b'\xef\xbb\xbfa\nb\n', ['a', 'b']),
    'UTF-16': ('a\r\né\r\n'.encode('utf-16'), ['a', 'é']),
    'UTF-16, high byte first': (b'\xfe\xff\0a\0\n', ['a']),
    'composed': ('caf\u00e9\n'.encode(), ['caf\u00e9']),
    'decomposed': ('cafe\u0301\n'.encode(), ['caf\u00e9']),
    'no composed form': ('नदी\n'.encode(), ['नदी']),
    'one name in two forms': (
        'caf\u00e9\ncafe\u0301\n'.encode(), 'in lines 1 and 2',
    ),
    'mark inside': (b'a\n\xef\xbb\xbfb\n', 'line 2'),
    'blank line': (b'a\n\nb\n', 'line 2 is blank'),
    'blanks at the end': (b'a \n', "line 1 is 'a '"),
    'a path': (b'../a\n', 'line 1'),
    'latin-1': ('é'.encode('latin-1'), 'UnicodeDecodeError'),
    'nothing': (b'', 'no id'),
    'a mark alone': (b'\xef\xbb\xbf', 'no id'),
}  # fmt: skip


@pytest.mark.parametrize('case', CASES)
def test_lists_of_ids(tmp_path, case):
    content, expected = CASES[case]
    path = tmp_path / 'list.txt'
    path.write_bytes(content)
    if isinstance(expected, list):
        assert read_ids(str(path)) == expected
    else:
        with pytest.raises(DataFileError, match=expected):
            read_ids(str(path))

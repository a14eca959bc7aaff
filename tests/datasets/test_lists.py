import re

import pytest
from mmseg.registry import DATASETS

from mmcss.datasets import LabelledImages
from mmcss.datasets.lists import check_list, read_names
from tests.makers import folder_config

TEXTS = {
    'plain': b'a\nb/c\n', 'of Windows': b'\xef\xbb\xbfa\r\nb/c\r\n', 'empty lines': b'\n\na\n  \nb/c\n\n',
    'spaces': b' a \n\tb/c  ', 'comments': b'# all of them\na\n# \nb/c', 'twice': b'a\nb/c\na\n',
}


@pytest.mark.parametrize('kind', TEXTS)
def test_names(tmp_path, kind):
    (tmp_path / 'list.txt').write_bytes(TEXTS[kind])
    assert sorted(set(read_names(str(tmp_path / 'list.txt')))) == ['a', 'b/c']


def test_no_text(tmp_path):
    (tmp_path / 'list.txt').write_bytes('a\nb'.encode('utf-16'))
    with pytest.raises(ValueError, match=r'list\.txt is no UTF-8 text .*, expected a list of image names, one a line'):
        read_names(str(tmp_path / 'list.txt'))


def listed(root, text, **options):
    config = folder_config(root, {'i0': (0, 1), 'town/i1': (2, 0)}, ann_file='list.txt', **options)
    (root / 'list.txt').write_bytes(text)
    return config


@pytest.mark.parametrize('text, images', [
    (b'i0\ntown/i1\n', 2), (b'i0\r\ntown/i1\r\n', 2), (b' i0  \ntown/i1\t', 2), (b'i0\ni0\ntown/i1', 3)])
def test_lists_of_stock_data_sets(tmp_path, text, images):
    """An image that is listed twice counts twice, as in stock MMSegmentation."""
    assert len(LabelledImages(listed(tmp_path, text)).presence[0]) == images


@pytest.mark.parametrize('text, line, shown', [
    (b'i0\n\ntown/i1\n', 2, "''"), (b'i0\ntown/i1\n  \n', 3, "'  '"), (b'\xef\xbb\xbfi0\ntown/i1', 1, r"'\ufeffi0'"),
    (b'# mine\ni0', 1, "'# mine'"), (b'i0\ntown/i1.jpg', 2, "'town/i1.jpg'")])
def test_lists_that_a_stock_data_set_reads_otherwise(tmp_path, text, line, shown):
    config = listed(tmp_path, text)
    message = f'{tmp_path}/list.txt, line {line}: {shown} is read as the name of an image, {tmp_path}/images/'
    with pytest.raises(ValueError, match=re.escape(message) + '.*a name without .jpg in each line'):
        LabelledImages(config)
    # Left out and listed, like all that can't be read.
    assert len(LabelledImages(config, skip_broken=True).broken) == 2


def test_a_list_of_files_that_are_there(tmp_path):
    config = folder_config(tmp_path, {'#1': (0, 1), '2.jpg': (2, 0)}, ann_file='list.txt')
    (tmp_path / 'list.txt').write_text('#1\n2.jpg\n')
    check_list(DATASETS.build(config))

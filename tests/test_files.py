import errno
import json
import os
import zipfile
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import ConfigDict

from mmcss import files
from mmcss.files import check_archive, flush_files, full_disk, plain, read_json, remove, write_json, written_whole

NAN = float('nan')


def test_round_trip_in_a_new_folder(tmp_path):
    value = dict(name='voc', numbers=[1, 2.5, None], nested=dict(flag=True))
    write_json(tmp_path / 'a' / 'b' / 'x.json', value)
    assert read_json(tmp_path / 'a' / 'b' / 'x.json') == value
    assert [path.name for path in (tmp_path / 'a' / 'b').iterdir()] == ['x.json']


def test_nan_becomes_null(tmp_path):
    path = tmp_path / 'x.json'
    write_json(path, dict(mean=NAN, rows=[(1.5, NAN), [np.float64('nan')]], deep=dict(deeper=NAN)))
    assert 'NaN' not in path.read_text()
    assert json.loads(path.read_text()) == dict(mean=None, rows=[[1.5, None], [None]], deep=dict(deeper=None))


def test_takes_a_path_as_text(tmp_path):
    write_json(str(tmp_path / 'x.json'), [1])
    assert read_json(str(tmp_path / 'x.json'), list) == [1]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / 'x.json'
    write_json(path, ['old'])
    replace, flush = os.replace, os.fsync
    seen, flushed = [], []

    def look_then_replace(source, target):
        seen.append((read_json(target, list), read_json(source, list), Path(source).parent, len(flushed)))
        replace(source, target)

    monkeypatch.setattr(files.os, 'replace', look_then_replace)
    monkeypatch.setattr(files.os, 'fsync', lambda number: (flushed.append(number), flush(number)))
    write_json(path, ['new'])
    # In the same folder: a move across file systems is not atomic. On the disk before it is renamed, its name after it.
    assert seen == [(['old'], ['new'], tmp_path, 1)] and len(flushed) == 2
    assert read_json(path, list) == ['new']


def test_a_write_that_fails_halfway_leaves_the_old_file(tmp_path):
    path = tmp_path / 'x.json'
    write_json(path, ['old'])
    with pytest.raises(KeyboardInterrupt), written_whole(path) as file:
        file.write(b'["ne')
        raise KeyboardInterrupt
    assert read_json(path, list) == ['old'] and [entry.name for entry in tmp_path.iterdir()] == ['x.json']


def test_what_json_does_not_know_leaves_the_old_file(tmp_path):
    path = tmp_path / 'x.json'
    write_json(path, ['old'])
    with pytest.raises(TypeError):
        write_json(path, dict(value=object()))
    assert read_json(path, list) == ['old']


@pytest.mark.parametrize('content', [b'', b'{"a":', b'null', b'[]', b'3', b'\x82\x00', b'"text"'])
def test_a_damaged_file_is_named(tmp_path, content):
    (tmp_path / 'x.json').write_bytes(content)
    with pytest.raises(ValueError, match=r'x\.json is damaged'):
        read_json(tmp_path / 'x.json')


def test_what_can_not_be_read_is_not_missing(tmp_path):
    with pytest.raises(FileNotFoundError):
        read_json(tmp_path / 'x.json')
    (tmp_path / 'x.json').mkdir()
    with pytest.raises(IsADirectoryError, match='x.json'):
        read_json(tmp_path / 'x.json')


@pytest.mark.parametrize('number', [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_is_named(tmp_path, number):
    def fill():
        try:
            raise OSError(number, 'full')
        except OSError:
            raise RuntimeError('unexpected pos 512 vs 400')  # noqa: B904  as torch says it

    with pytest.raises(OSError, match=f'no space left on the disk of {tmp_path} .* MiB free.*x.json') as caught:
        with written_whole(tmp_path / 'x.json') as file:
            file.write(b'half')
            fill()
    assert caught.value.errno == number and not list(tmp_path.iterdir())


def test_other_errors_are_left_alone(tmp_path):
    with pytest.raises(RuntimeError, match='else'), written_whole(tmp_path / 'x.json'):
        raise RuntimeError('else')
    assert full_disk(OSError(errno.EIO, 'broken'), tmp_path / 'x') is None and full_disk(None, tmp_path / 'x') is None


def test_a_folder_is_on_the_disk_before_it_is_renamed(tmp_path, monkeypatch):
    (tmp_path / 'a' / 'b').mkdir(parents=True)
    (tmp_path / 'a' / 'b' / 'x').write_text('x')
    flushed, flush = [], os.fsync
    monkeypatch.setattr(files.os, 'fsync', lambda number: (flushed.append(os.readlink(f'/proc/self/fd/{number}')), flush(number)))
    flush_files(tmp_path / 'a')
    assert flushed == [str(tmp_path / name) for name in ('a/b', 'a/b/x', 'a')]


def test_removing_what_is_there(tmp_path):
    (tmp_path / 'kept').mkdir()
    (tmp_path / 'link').symlink_to(tmp_path / 'kept')
    (tmp_path / 'file').touch()
    (tmp_path / 'folder' / 'inner').mkdir(parents=True)
    for name in ('link', 'file', 'folder', 'nothing'):
        remove(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == ['kept']


def archive(path):
    with zipfile.ZipFile(path, 'w') as file:
        file.writestr('a', b'0123456789')
    return path.read_bytes()


def test_an_archive_whose_bytes_have_changed(tmp_path):
    path = tmp_path / 'a.pth'
    whole = archive(path)
    check_archive(path, required=True)
    path.write_bytes(whole.replace(b'0123', b'0223'))
    with pytest.raises(ValueError, match=r'a\.pth is damaged: its bytes are not those that were written'):
        check_archive(path)
    path.write_bytes(whole[:-30])
    check_archive(path)  # it may be of another format
    with pytest.raises(ValueError, match='it is no zip archive'):
        check_archive(path, required=True)


def test_plain_values():
    given = ConfigDict(a=dict(b=[dict(c=1), (dict(d=2), )]))
    found = plain(given)
    assert found == dict(a=dict(b=[dict(c=1), (dict(d=2), )]))
    assert {type(found), type(found['a']), type(found['a']['b'][0]), type(found['a']['b'][1][0])} == {dict}

import json
import os
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import ConfigDict

from mmcss import files
from mmcss.files import plain, read_json, write_json

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
    assert read_json(str(tmp_path / 'x.json')) == [1]


def test_a_reader_sees_the_old_file_until_the_new_one_is_whole(tmp_path, monkeypatch):
    path = tmp_path / 'x.json'
    write_json(path, 'old')
    replace = os.replace
    seen = []

    def look_then_replace(source, target):
        seen.append((read_json(target), read_json(source), Path(source).parent))
        replace(source, target)

    monkeypatch.setattr(files.os, 'replace', look_then_replace)
    write_json(path, 'new')
    assert seen == [('old', 'new', tmp_path)]  # the same folder: a move across file systems is not atomic
    assert read_json(path) == 'new'


def test_a_write_that_fails_halfway_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / 'x.json'
    write_json(path, 'old')

    def write_half(self, text):
        with open(self, 'w') as file:
            file.write(text[:len(text) // 2])
        raise OSError('no space left')

    monkeypatch.setattr(Path, 'write_text', write_half)
    with pytest.raises(OSError, match='no space left'):
        write_json(path, 'new')
    assert read_json(path) == 'old'


def test_what_json_does_not_know_leaves_the_old_file(tmp_path):
    path = tmp_path / 'x.json'
    write_json(path, 'old')
    with pytest.raises(TypeError):
        write_json(path, dict(value=object()))
    assert read_json(path) == 'old'


def test_plain_values():
    given = ConfigDict(a=dict(b=[dict(c=1), (dict(d=2), )]))
    found = plain(given)
    assert found == dict(a=dict(b=[dict(c=1), (dict(d=2), )]))
    assert {type(found), type(found['a']), type(found['a']['b'][0]), type(found['a']['b'][1][0])} == {dict}

import os
from pathlib import Path

import numpy as np
import pytest
from mmseg.registry import DATASETS

from mmcss.datasets import presence, presence_table
from mmcss.datasets.sources import LabelReader
from tests.makers import LABELS, PIPELINE, folder_config, write_pair


@pytest.fixture
def reads(monkeypatch):
    """Label maps read so far."""
    paths = []
    original = LabelReader.__call__

    def count(self, info):
        paths.append(info['seg_map_path'])
        return original(self, info)

    monkeypatch.setattr(LabelReader, '__call__', count)
    return paths


def table(root, **options):
    return presence_table(DATASETS.build(folder_config(root, **options)))


def built(root, **options):
    """A data set on files that are there already."""
    return DATASETS.build(dict(folder_config(root, labels={}, **options)))


def expected():
    rows = np.zeros((len(LABELS), 256), dtype=bool)
    for row, values in zip(rows, LABELS.values()):
        row[list(values)] = True
    return rows


def test_holds_every_value(tmp_path):
    found = table(tmp_path / 'data')
    assert found.dtype == bool
    assert np.array_equal(found, expected())


def test_zero_counts_as_it_is_in_the_file(tmp_path):
    assert np.array_equal(table(tmp_path / 'data', reduce_zero_label=True), expected())


def test_second_call_reads_no_file(tmp_path, reads):
    first = table(tmp_path / 'data')
    assert sorted(reads) == [str(tmp_path / 'data' / 'labels' / f'{stem}.png') for stem in LABELS]
    reads.clear()
    assert np.array_equal(presence_table(built(tmp_path / 'data')), first)
    assert reads == []
    assert len(list((tmp_path / 'cache' / 'presence').iterdir())) == 1


@pytest.mark.parametrize('changed', ['time', 'size'])
def test_a_changed_label_map_is_read_again(tmp_path, reads, changed):
    table(tmp_path / 'data')
    path = tmp_path / 'data' / 'labels' / 'i1.png'
    before = path.stat()
    write_pair(tmp_path / 'data' / 'images' / 'i1.jpg', path, (0, 1) if changed == 'time' else (0, 1, 3))
    after = path.stat()
    if changed == 'time':
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns + 1))
        assert after.st_size == before.st_size
    else:
        os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
        assert after.st_size != before.st_size
    reads.clear()
    rows = expected()
    rows[1] = False
    rows[1, [0, 1] if changed == 'time' else [0, 1, 3]] = True
    assert np.array_equal(presence_table(built(tmp_path / 'data')), rows)
    assert len(reads) == len(LABELS)


def test_another_way_of_reading_has_another_table(tmp_path, reads):
    table(tmp_path / 'data')
    reads.clear()
    presence_table(built(tmp_path / 'data', pipeline=[dict(type='LoadAnnotations', imdecode_backend='cv2'), PIPELINE[2]]))
    assert len(reads) == len(LABELS)


def test_works_where_nothing_can_be_cached(tmp_path, monkeypatch, reads):
    (tmp_path / 'file').write_text('')
    monkeypatch.setenv('MMCSS_CACHE', str(tmp_path / 'file'))
    assert np.array_equal(table(tmp_path / 'data'), expected())
    assert len(reads) == len(LABELS)
    assert (tmp_path / 'file').read_text() == ''


def test_an_interrupted_write_leaves_no_table(tmp_path, monkeypatch):
    def stop(source, target):
        assert Path(source).exists() and not Path(target).exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(presence.os, 'replace', stop)
    with pytest.raises(KeyboardInterrupt):
        table(tmp_path / 'data')
    monkeypatch.undo()
    monkeypatch.setenv('MMCSS_CACHE', str(tmp_path / 'cache'))
    assert np.array_equal(presence_table(built(tmp_path / 'data')), expected())


def test_empty_data_set(tmp_path):
    (tmp_path / 'data' / 'images').mkdir(parents=True)
    assert table(tmp_path / 'data', labels={}).shape == (0, 256)


def test_cache_folder(monkeypatch, tmp_path):
    assert presence.cache_folder() == tmp_path / 'cache' / 'presence'
    monkeypatch.delenv('MMCSS_CACHE')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'xdg'))
    assert presence.cache_folder() == tmp_path / 'xdg' / 'mmcss' / 'presence'
    monkeypatch.delenv('XDG_CACHE_HOME')
    monkeypatch.setenv('HOME', str(tmp_path / 'home'))
    assert presence.cache_folder() == tmp_path / 'home' / '.cache' / 'mmcss' / 'presence'

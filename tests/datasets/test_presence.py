import os
import pickle
from pathlib import Path

import numpy as np
import pytest
from mmcv.transforms import LoadAnnotations
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import Image
from torch import distributed

from mmcss.datasets import presence, presence_table
from mmcss.datasets.sources import LabelReader
from mmcss.files import read_json, write_json
from tests.makers import LABELS, PIPELINE, folder_config, write_folder, write_pair
from tests.processes import spawn


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
    loader = dict(type='LoadAnnotations', imdecode_backend='cv2')
    presence_table(built(tmp_path / 'data', pipeline=[loader, PIPELINE[2]]))
    assert len(reads) == len(LABELS)


def test_value_zero_shifts_chosen_classes(tmp_path):
    """Value 0 of a data set of chosen classes is dropped or is the first: two tables."""
    chosen = dict(type='LoveDADataset', img_suffix='.jpg', metainfo=dict(classes=('building', ), palette=[[1, 2, 3]]))
    folder_config(tmp_path, labels={'x': (0, 1, 2)})
    found = [np.flatnonzero(presence_table(built(tmp_path, reduce_zero_label=reduced, **chosen))[0]).tolist()
             for reduced in (False, True)]
    assert found == [[0, 255], [0, 1, 255]]  # 'building' is 1 of the values from 0 on, 2 of those from 1 on


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


def label_map(root, stem):
    return root / 'labels' / f'{stem}.png'


def image(root, stem):
    return root / 'images' / f'{stem}.jpg'


def cut_short(path):
    path.write_bytes(path.read_bytes()[:-30])


def turned(path):
    """Lay an image on its side, by a note in the file."""
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(path).save(path, exif=exif)


NO_IMAGE = 'can not be read: it is no image, or begins like none'
# What is done to a file of i3, and what is said of it; label maps of i3 have 4 x 2 pixels.
BAD_LABELS = {
    'missing': (lambda path: path.unlink(), 'can not be read: there is no such file for the image {image}'),
    'truncated': (cut_short, 'can not be read: OSError: '),
    'empty': (lambda path: path.write_bytes(b''), NO_IMAGE),
    'text': (lambda path: path.write_text('0 1 2'), NO_IMAGE),
    'a folder': (lambda path: path.unlink() or path.mkdir(), 'can not be read: IsADirectoryError: '),
    'colour': (lambda path: Image.new('RGB', (4, 2)).save(path), 'has shape (2, 4, 3); a single-channel map of class '
               'numbers is needed; convert colours to class numbers first'),
    '16 bits': (lambda path: Image.new('I;16', (4, 2), 300).save(path), 'has 16 bits a pixel, of which MMSegmentation '
                'keeps 8; write class numbers of 0 to 255 as 8 bits'),
}
BAD_IMAGES = {
    'missing': (lambda path: path.unlink(), 'can not be read: there is no such file'),
    'truncated': (cut_short, 'can not be read: OSError: '),
    'text': (lambda path: path.write_text('0 1 2'), NO_IMAGE),
    'size': (lambda path: Image.new('RGB', (5, 2)).save(path),
             'has 5 x 2 pixels, but its label map {labels} has 4 x 2'),
    'turned': (turned, 'has 2 x 4 pixels, but its label map {labels} has 4 x 2'),
}


@pytest.mark.parametrize('kind', BAD_LABELS)
def test_a_bad_label_map_is_an_error_or_listed(tmp_path, kind):
    write_folder(tmp_path / 'data', LABELS)
    spoil, reason = BAD_LABELS[kind]
    path = label_map(tmp_path / 'data', 'i3')
    spoil(path)
    reason = reason.format(image=image(tmp_path / 'data', 'i3'))
    with pytest.raises(ValueError) as caught:
        presence_table(built(tmp_path / 'data'))
    assert str(caught.value).startswith(f'the label map {path} {reason}')
    for images in (False, True):
        broken = []
        rows = expected()
        rows[3] = False
        assert np.array_equal(presence_table(built(tmp_path / 'data'), broken, images), rows)
        assert [entry[0] for entry in broken] == [str(path)] and broken[0][1].startswith(reason)
    assert not (tmp_path / 'cache').exists()


@pytest.mark.parametrize('kind', BAD_IMAGES)
def test_a_bad_image_is_listed(tmp_path, kind):
    write_folder(tmp_path / 'data', LABELS)
    spoil, reason = BAD_IMAGES[kind]
    path = image(tmp_path / 'data', 'i3')
    spoil(path)
    broken, rows = [], expected()
    rows[3] = False
    assert np.array_equal(presence_table(built_on_all(tmp_path / 'data'), broken), rows)
    assert [entry[0] for entry in broken] == [str(path)]
    assert broken[0][1].startswith(reason.format(labels=label_map(tmp_path / 'data', 'i3')))
    assert not (tmp_path / 'cache').exists()


def built_on_all(root):
    """A data set on a list of all images, also of those that are gone."""
    (root / 'all.txt').write_text('\n'.join(LABELS))
    return built(root, ann_file='all.txt')


def test_images_are_opened_for_a_list_only(tmp_path):
    write_folder(tmp_path / 'data', LABELS)
    for stem in LABELS:
        image(tmp_path / 'data', stem).write_bytes(b'')
    broken = []
    assert np.array_equal(presence_table(built(tmp_path / 'data')), expected())
    assert np.array_equal(presence_table(built(tmp_path / 'data'), broken, images=False), expected())
    assert broken == []
    # What is cached of label maps says nothing of images.
    assert not presence_table(built(tmp_path / 'data'), broken).any()
    assert broken == [(str(image(tmp_path / 'data', stem)), NO_IMAGE) for stem in LABELS]


def test_both_files_of_an_image_can_be_bad(tmp_path):
    write_folder(tmp_path / 'data', LABELS)
    paths = [label_map(tmp_path / 'data', 'i3'), image(tmp_path / 'data', 'i3')]
    for path in paths:
        path.write_bytes(b'')
    broken = [('other', 'found before')]
    presence_table(built(tmp_path / 'data'), broken)
    assert broken == [('other', 'found before'), *((str(path), NO_IMAGE) for path in paths)]


def test_a_mended_tree_is_cached(tmp_path, reads):
    write_folder(tmp_path / 'data', LABELS)
    whole = image(tmp_path / 'data', 'i3').read_bytes()
    image(tmp_path / 'data', 'i3').write_bytes(b'')
    presence_table(built(tmp_path / 'data'), [])
    image(tmp_path / 'data', 'i3').write_bytes(whole)
    for number in (len(LABELS), 0):
        reads.clear()
        broken = []
        assert np.array_equal(presence_table(built(tmp_path / 'data'), broken), expected())
        assert (len(reads), broken) == (number, [])


@TRANSFORMS.register_module()
class ReadsHalves(LoadAnnotations):
    """Reads label maps of 16 bits, on purpose."""

    def __init__(self):
        super().__init__(with_bbox=False, with_label=False, with_seg=True)

    def _load_seg_map(self, results):
        results['gt_seg_map'] = (np.array(Image.open(results['seg_map_path'])) // 256).astype(np.uint8)


def test_a_loader_of_one_s_own_may_read_16_bits(tmp_path):
    write_folder(tmp_path, {'i0': (0, )})
    Image.new('I;16', (4, 2), 512).save(label_map(tmp_path, 'i0'))
    found = presence_table(built(tmp_path, pipeline=[dict(type='ReadsHalves'), PIPELINE[2]]))
    assert np.flatnonzero(found[0]).tolist() == [2]


def test_errors_reach_other_processes():
    error = presence.BrokenFile('label map', 'a.png', 'is bad')
    assert str(pickle.loads(pickle.dumps(error))) == 'the label map a.png is bad'


def look(rank, folder):
    """One of two processes; its cache is its own, as on a machine of its own."""
    distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    os.environ['MMCSS_CACHE'] = f'{folder}/cache{rank}'
    init_default_scope('mmseg')
    found = {}
    for name in ('whole', 'bad'):
        broken = []
        table = presence_table(built(Path(folder) / name), broken, images=False)
        try:
            presence_table(built(Path(folder) / name))
            error = None
        except ValueError as caught:
            error = str(caught)
        found[name] = dict(rows=[np.flatnonzero(row).tolist() for row in table], broken=broken, error=error)
    write_json(f'{folder}/{rank}.json', found)
    distributed.barrier()
    distributed.destroy_process_group()


def test_all_processes_get_the_same(tmp_path):
    for name in ('whole', 'bad'):
        write_folder(tmp_path / name, LABELS)
    path = label_map(tmp_path / 'bad', 'i3')
    path.write_bytes(b'')
    spawn(look, str(tmp_path))
    rows = [sorted(values) for values in LABELS.values()]
    for rank in range(2):
        found = read_json(tmp_path / f'{rank}.json')
        assert found['whole'] == dict(rows=rows, broken=[], error=None)
        assert found['bad'] == dict(rows=[*rows[:3], [], *rows[4:]], broken=[[str(path), NO_IMAGE]],
                                    error=f'the label map {path} {NO_IMAGE}')
    assert (tmp_path / 'cache0').exists() and not (tmp_path / 'cache1').exists()

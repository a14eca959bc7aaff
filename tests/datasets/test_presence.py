import errno
import io
import os
import pickle
import re
from pathlib import Path

import cv2
import mmcv
import numpy as np
import pytest
from mmcv.transforms import BaseTransform, LoadAnnotations
from mmengine.registry import init_default_scope
from mmseg.registry import DATASETS, TRANSFORMS
from PIL import Image, UnidentifiedImageError
from torch import distributed

from mmcss.datasets import broken_files, presence, presence_table
from mmcss.datasets.readers import LabelReader
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
    presence = table(tmp_path / 'data')
    assert presence.dtype == bool
    assert np.array_equal(presence, expected())


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
    values = [np.flatnonzero(presence_table(built(tmp_path, reduce_zero_label=reduced, **chosen))[0]).tolist()
             for reduced in (False, True)]
    assert values == [[0, 255], [0, 1, 255]]  # 'building' is 1 of the values from 0 on, 2 of those from 1 on


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

def npy(array):
    """The bytes of an array's file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=array.dtype == object)
    return buffer.getvalue()


DAMAGED = {
    'empty': (lambda whole: b'', 'can not be used'),
    'cut': (lambda whole: whole[:-50], 'can not be used'),
    'no header': (lambda whole: b'x' * 99, 'can not be used'),
    'zeros': (lambda whole: bytes(len(whole)), 'can not be used'),
    'an archive': (lambda whole: b'PK\x03\x04' + whole, 'can not be used'),
    'pickled': (lambda whole: npy(np.array([{}], dtype=object)), 'can not be used'),
    'of another shape': (lambda whole: npy(np.ones((3, 32), np.uint8)), r'it is uint8 of shape \(3, 32\), expected uint8 of '
                         r'\(8, 32\)'),
    'of another kind': (lambda whole: npy(np.ones((8, 32))), 'it is float64 of shape'),
    'zeros of that shape': (lambda whole: npy(np.zeros((8, 32), np.uint8)), 'its checksum is wrong'),
    'of another bit': (lambda whole: whole[:150] + bytes([whole[150] ^ 1]) + whole[151:], 'its checksum is wrong'),
}


@pytest.mark.parametrize('kind', DAMAGED)
def test_a_damaged_table_is_made_anew(tmp_path, reads, monkeypatch, kind):
    spoil, message = DAMAGED[kind]
    warnings = []
    monkeypatch.setattr(presence, 'print_log', lambda text, *options: warnings.append(text))
    table(tmp_path / 'data')
    path, = (tmp_path / 'cache' / 'presence').iterdir()
    whole = path.read_bytes()
    path.write_bytes(spoil(whole))
    for scanned in (len(LABELS), 0):
        reads.clear()
        assert np.array_equal(presence_table(built(tmp_path / 'data')), expected())
        assert len(reads) == scanned and path.read_bytes() == whole
    text, = warnings
    assert str(path) in text and re.search(message, text)


def test_a_table_that_can_not_be_read_is_made_anew(tmp_path, reads):
    """A folder in its place can't be replaced either; nothing is left beside it."""
    table(tmp_path / 'data')
    path, = (tmp_path / 'cache' / 'presence').iterdir()
    path.unlink()
    path.mkdir()
    (path / 'more').write_text('')
    reads.clear()
    assert np.array_equal(presence_table(built(tmp_path / 'data')), expected())
    assert len(reads) == len(LABELS) and list(path.parent.iterdir()) == [path]


def test_a_full_disk_leaves_nothing_behind(tmp_path, monkeypatch):
    def fill(path, array):
        Path(path).write_bytes(b'half')
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr(presence.np, 'save', fill)
    assert np.array_equal(table(tmp_path / 'data'), expected())
    assert list((tmp_path / 'cache' / 'presence').iterdir()) == []


def test_writers_do_not_meet(tmp_path, monkeypatch):
    """Several processes, of several machines, may store the same table at once."""
    names = []
    monkeypatch.setattr(presence.os, 'replace', lambda source, target: names.append(source))
    for _ in range(2):
        table(tmp_path / 'data')
    assert len(set(names)) == 2


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
    monkeypatch.setattr(presence.os.path, 'expanduser', lambda path: path)  # as where nobody knows of a home
    monkeypatch.setattr(presence.tempfile, 'gettempdir', lambda: str(tmp_path / 'short'))
    assert presence.cache_folder() == tmp_path / 'short' / 'mmcss' / 'presence'


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


NO_IMAGE = 'can not be read: it is no image, or its beginning is damaged'
# What is done to a file of i3, and what is said of it; label maps of i3 have 4 x 2 pixels.
BAD_LABELS = {
    'missing': (lambda path: path.unlink(), 'can not be read: there is no such file for the image {image}'),
    'truncated': (cut_short, 'can not be read: OSError: '),
    'empty': (lambda path: path.write_bytes(b''), NO_IMAGE),
    'text': (lambda path: path.write_text('0 1 2'), NO_IMAGE),
    'a folder': (lambda path: path.unlink() or path.mkdir(), 'can not be read: IsADirectoryError: '),
    'colour': (lambda path: Image.new('RGB', (4, 2)).save(path), 'has shape (2, 4, 3), expected a single-channel map of class '
               'numbers; convert colours to class numbers first'),
    '16 bits': (lambda path: Image.new('I;16', (4, 2), 300).save(path), 'has 16 bits a pixel, of which MMSegmentation '
                'uses 8; write class numbers of 0 to 255 as 8 bits'),
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
    broken = [('other', 'broken before')]
    presence_table(built(tmp_path / 'data'), broken)
    assert broken == [('other', 'broken before'), *((str(path), NO_IMAGE) for path in paths)]


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

# Images that only the pipeline's own loader reads.


@TRANSFORMS.register_module()
class LoadBands(BaseTransform):
    """Reads arrays of four bands."""

    def transform(self, results):
        results['img'] = np.load(results['img_path'])
        results['img_shape'] = results['ori_shape'] = results['img'].shape[:2]
        return results


@TRANSFORMS.register_module()
class LoadPair(BaseTransform):
    """Reads two images, and tells the size of none."""

    def transform(self, results):
        results['img'] = [mmcv.imread(results[key]) for key in ('img_path', 'img_path')]
        assert results['img'][0] is not None, 'no image'
        return results


def own_images(root, loader, stems=('i0', 'i1'), suffix='.npy', **options):
    """A data set on arrays that hold (0, 1) each, as large as their label maps."""
    for stem in stems:
        write_pair(root / 'images' / f'{stem}.png', root / 'labels' / f'{stem}.png', (0, 1))
        np.save(root / 'images' / f'{stem}.npy', np.zeros((2, 4, 4), np.uint16))
    return built(root, img_suffix=suffix, pipeline=[dict(type=loader, **options), *PIPELINE[1:]])


def test_the_pipeline_s_own_loader_reads_images(tmp_path):
    leaf, broken = own_images(tmp_path, 'LoadBands'), []
    assert presence_table(leaf, broken).sum() == 4 and broken == []
    np.save(tmp_path / 'images/i0.npy', np.zeros((2, 5, 4), np.uint16))
    (tmp_path / 'images/i1.npy').write_bytes(b'nothing')
    presence_table(own_images(tmp_path, 'LoadBands', ()), broken)
    assert [path for path, _ in broken] == [f'{tmp_path}/images/{stem}.npy' for stem in ('i0', 'i1')]
    assert broken[0][1] == f'has 5 x 2 pixels, but its label map {tmp_path}/labels/i0.png has 4 x 2'
    assert broken[1][1].startswith('can not be read: ValueError: ')


def test_a_loader_that_tells_no_size(tmp_path):
    broken = []
    assert presence_table(own_images(tmp_path, 'LoadPair', suffix='.png'), broken).sum() == 4 and broken == []
    (tmp_path / 'images/i1.png').write_bytes(b'nothing')
    presence_table(own_images(tmp_path, 'LoadPair', (), '.png'), broken)
    assert [reason[:41] for _, reason in broken] == ['can not be read: AssertionError: no image']


def test_images_are_looked_at_anew_with_another_loader(tmp_path, reads):
    for loader in ('LoadBands', 'LoadImageFromNpyFile', 'LoadBands', 'LoadImageFromNpyFile'):
        presence_table(own_images(tmp_path, loader, () if reads else ('i0', 'i1')), [])
    assert len(reads) == 4


def test_a_pipeline_that_loads_no_image(tmp_path):
    write_folder(tmp_path, {'i0': (0, 1)})
    broken = []
    presence_table(built(tmp_path, pipeline=[PIPELINE[1], dict(type='Resize', scale=(4, 4))]), broken)
    assert broken[0][1].startswith('can not be read: ')


def test_a_format_that_pillow_does_not_know(tmp_path):
    suffix = '.hdr'
    write_folder(tmp_path, {'i0': (0, 1), 'i1': (0, 2)})
    for stem in ('i0', 'i1'):
        cv2.imwrite(str(tmp_path / 'images' / f'{stem}{suffix}'), np.ones((2, 4, 3), np.float32))
    with pytest.raises(UnidentifiedImageError):
        Image.open(tmp_path / 'images' / f'i0{suffix}')
    options = dict(img_suffix=suffix, pipeline=[dict(PIPELINE[0], color_type='unchanged'), *PIPELINE[1:]])
    broken = []
    assert presence_table(built(tmp_path, **options), broken).sum() == 4 and broken == []
    path = tmp_path / 'images' / f'i1{suffix}'
    path.write_bytes(b'nothing')
    presence_table(built(tmp_path, **options), broken)
    assert broken == [(str(path), NO_IMAGE)]


# Photographs on their side.


@pytest.mark.parametrize('color_type, turns', [('color', True), ('grayscale', True), ('color_ignore_orientation', False),
                                               ('unchanged', False)])
def test_orientation_counts_as_the_loader_has_it(tmp_path, color_type, turns):
    """OpenCV, which loads images, and Pillow, which looks for truncated ones, agree."""
    write_folder(tmp_path, {'i0': (0, 1)})
    turned(image(tmp_path, 'i0'))
    pipeline = [dict(PIPELINE[0], color_type=color_type), PIPELINE[1]]
    broken = []
    leaf = built(tmp_path, pipeline=pipeline)
    presence_table(leaf, broken)
    loaded = leaf.pipeline(leaf.get_data_info(0))['img'].shape[:2]
    assert loaded == ((4, 2) if turns else (2, 4))
    assert [reason for _, reason in broken] == ([] if not turns else [
        f"has 2 x 4 pixels, but its label map {tmp_path}/labels/i0.png has 4 x 2; the loader rotates photographs by their "
        "orientation (EXIF): rotate the label map too, or load images with color_type='color_ignore_orientation'"])
    # A label map that lies as the loader has the image.
    labels = np.array(Image.open(label_map(tmp_path, 'i0')))
    Image.fromarray(labels.T if turns else labels).save(label_map(tmp_path, 'i0'))
    broken = []
    assert presence_table(built(tmp_path, pipeline=pipeline), broken).sum() == 2 and broken == []


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
    presence = presence_table(built(tmp_path, pipeline=[dict(type='ReadsHalves'), PIPELINE[2]]))
    assert np.flatnonzero(presence[0]).tolist() == [2]


def test_errors_reach_other_processes():
    error = broken_files.BrokenFile('label map', 'a.png', 'is bad')
    assert str(pickle.loads(pickle.dumps(error))) == 'the label map a.png is bad'


def scan_in_process(rank, folder):
    """One of two processes; its cache is its own, as on a machine of its own."""
    distributed.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    os.environ['MMCSS_CACHE'] = f'{folder}/cache{rank}'
    init_default_scope('mmseg')
    results = {}
    for name in ('whole', 'bad'):
        broken = []
        table = presence_table(built(Path(folder) / name), broken, images=False)
        try:
            presence_table(built(Path(folder) / name))
            error = None
        except ValueError as caught:
            error = str(caught)
        results[name] = dict(rows=[np.flatnonzero(row).tolist() for row in table], broken=broken, error=error)
    write_json(f'{folder}/{rank}.json', results)
    distributed.barrier()
    distributed.destroy_process_group()


def test_all_processes_get_the_same(tmp_path):
    for name in ('whole', 'bad'):
        write_folder(tmp_path / name, LABELS)
    path = label_map(tmp_path / 'bad', 'i3')
    path.write_bytes(b'')
    spawn(scan_in_process, str(tmp_path))
    rows = [sorted(values) for values in LABELS.values()]
    for rank in range(2):
        results = read_json(tmp_path / f'{rank}.json')
        assert results['whole'] == dict(rows=rows, broken=[], error=None)
        assert results['bad'] == dict(rows=[*rows[:3], [], *rows[4:]], broken=[[str(path), NO_IMAGE]],
                                    error=f'the label map {path} {NO_IMAGE}')
    assert (tmp_path / 'cache0').exists() and not (tmp_path / 'cache1').exists()

"""The stand-in trees, read by MMSegmentation's own data sets."""

import importlib.util
from pathlib import Path

import numpy as np
import pytest
from mmengine.registry import init_default_scope
from mmseg.datasets import ADE20KDataset, PascalVOCDataset
from PIL import Image

TOOL = Path(__file__).parents[2] / 'tools' / 'make_voc_tree.py'
spec = importlib.util.spec_from_file_location('make_voc_tree', TOOL)
make_voc_tree = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_voc_tree)

TRAIN = {'2007_000032': {1, 15}, '2007_000039': {20}, '2011_003276': {2, 15}, '2008_000002': {20}, '2008_000003': {15, 19}}
VAL = {'2007_000033': {1}, '2007_000042': {19}, '2007_000061': set()}
ADE = {'ADE_train_00000001': {1, 4, 150}, 'ADE_train_00000002': {13}}


@pytest.fixture
def splits(tmp_path) -> Path:
    folder = tmp_path / 'splits'
    folder.mkdir()
    lists = dict(voc2012_train_aug=TRAIN, voc2012_val=VAL, ade20k_train=ADE, ade20k_val={'ADE_val_00000001': {1, 2}})
    for name, entries in lists.items():
        lines = [' '.join([image_id, *map(str, sorted(classes))]) for image_id, classes in entries.items()]
        (folder / f'{name}_classes.txt').write_text('# image id, then the ids of the classes\n' + '\n'.join(lines) + '\n')
    return folder


def loaded(dataset) -> dict[str, set[int]]:
    """Label values of each image, as the data set's own pipeline gives them."""
    found = {}
    for sample in dataset:
        assert sample['img'].shape == (16, 16, 3) and sample['gt_seg_map'].shape == (16, 16)
        found[Path(sample['img_path']).stem] = set(np.unique(sample['gt_seg_map']).tolist())
    return found


PIPELINE = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations')]


def test_voc(splits, tmp_path, capsys):
    out = tmp_path / 'data'
    make_voc_tree.main(['--splits', str(splits), '--out', str(out), '--num-train', '2'])
    root = out / 'VOCdevkit' / 'VOC2012'
    assert capsys.readouterr().out == f'{root}: 8 images\n'
    init_default_scope('mmseg')
    labels = dict(train='SegmentationClass', aug='SegmentationClassAug', val='SegmentationClass')
    found = {
        name: loaded(PascalVOCDataset(
            ann_file=f'ImageSets/Segmentation/{name}.txt', data_root=str(root), pipeline=PIPELINE,
            data_prefix=dict(img_path='JPEGImages', seg_map_path=folder)))
        for name, folder in labels.items()
    }
    assert list(found['train']) == list(TRAIN)[:2] and list(found['aug']) == list(TRAIN)[2:]
    assert found['train'] | found['aug'] == {name: classes | {0, 255} for name, classes in TRAIN.items()}
    assert found['val'] == {name: classes | {0, 255} for name, classes in VAL.items()}


def test_voc_palette(splits, tmp_path):
    """The label maps of VOC's own are palette images in VOC's colours; those of the augmented part are plain."""
    root, _ = make_voc_tree.make_tree(splits, tmp_path / 'data', num_train=2)
    own = Image.open(root / 'SegmentationClass' / '2007_000032.png')
    assert own.mode == 'P'
    palette = np.reshape(own.getpalette(), (-1, 3))
    np.testing.assert_array_equal(palette[:21], PascalVOCDataset.METAINFO['palette'])
    assert palette[255].tolist() == [224, 224, 192]
    assert Image.open(root / 'SegmentationClassAug' / '2008_000002.png').mode == 'L'


def test_lists_shorter_than_train(splits, tmp_path):
    """With the real set's number of training images, a short list has no augmented part."""
    root, _ = make_voc_tree.make_tree(splits, tmp_path / 'data')
    lists = root / 'ImageSets' / 'Segmentation'
    assert (lists / 'train.txt').read_text().split() == list(TRAIN)
    assert (lists / 'aug.txt').read_text() == ''


def test_ade(splits, tmp_path):
    root, count = make_voc_tree.make_tree(splits, tmp_path / 'data', 'ade20k')
    assert root == tmp_path / 'data' / 'ade' / 'ADEChallengeData2016' and count == 3
    init_default_scope('mmseg')
    pipeline = [PIPELINE[0], dict(type='LoadAnnotations', reduce_zero_label=False)]
    found = loaded(ADE20KDataset(data_root=str(root), reduce_zero_label=False, pipeline=pipeline,
                                 data_prefix=dict(img_path='images/training', seg_map_path='annotations/training')))
    assert found == {name: classes | {0} for name, classes in ADE.items()}
    assert (root / 'images/validation/ADE_val_00000001.jpg').is_file()
    assert (root / 'annotations/validation/ADE_val_00000001.png').is_file()


def test_a_data_set_is_never_overwritten(splits, tmp_path):
    root, _ = make_voc_tree.make_tree(splits, tmp_path / 'data')
    with pytest.raises(FileExistsError, match='may be the real data set'):
        make_voc_tree.make_tree(splits, tmp_path / 'data')
    assert [path.name for path in root.parent.iterdir()] == ['VOC2012']


def test_class_out_of_range(splits, tmp_path):
    (splits / 'voc2012_val_classes.txt').write_text('# ids\n2007_000033 1 21\n')
    with pytest.raises(ValueError, match=r'voc2012_val_classes.txt, line 2: got class ids \[1, 21\], valid are 1 to 20'):
        make_voc_tree.make_tree(splits, tmp_path / 'data')
    assert not (tmp_path / 'data' / 'VOCdevkit' / 'VOC2012').exists()

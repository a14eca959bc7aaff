import shutil
from pathlib import Path

import numpy as np
import pytest
from mmcv.transforms import BaseTransform
from mmseg.registry import TRANSFORMS
from PIL import Image

from mmcss.checks import DataChecker
from mmcss.engine import ContinualRunner
from mmcss_cli import main
from tests import processes
from tests.datasets.test_bad_trees import IMAGE, LABEL, LOADED, PLANNED, listed, repaint, spoilt
from tests.tiny import make_data, tiny_config

TOOL = Path(__file__).resolve().parents[2] / 'tools' / 'check_data.py'


def cells(table):
    """A table's rows as text."""
    return [list(map(str, row)) for row in table.rows]


def check(cfg, images=False):
    checker = DataChecker(cfg, images)
    checker.run()
    return checker


def test_a_sound_tree(tmp_path):
    root = make_data(tmp_path / 'data')
    (root / 'labels' / 'train' / 'notes.txt').write_text('no label map')
    checker = check(tiny_config(root, tmp_path / 'work'), images=True)
    assert checker.problems == []
    files, classes, steps = map(cells, checker.tables)
    assert files == [['train', f'{root}/images/train', '12', '12', '0', '0', '0', '32 x 32'],
                     ['test', f'{root}/images/val', '4', '4', '0', '0', '0', '32 x 32']]
    assert classes == [['background', '0', '12', '4'], ['red', '1', '4', '1'], ['green', '2', '5', '1'],
                       ['blue', '3', '7', '3'], ['white', '4', '5', '2']]
    assert steps == [['0', '3', '8', '2'], ['1', '1', '7', '3'], ['2', '1', '5', '4']]
    assert not (tmp_path / 'work').exists()


# Where the tool says it otherwise than the plan.
SAID = {
    'a label value is of no class': f'{LABEL} holds the label value 77, which is no class of BaseSegDataset',
    'the folder of label maps is absent': 'train: there is no {root}/labels/train; mend data_root or '
                                          'data_prefix.seg_map_path',
    'the folder of images is absent': 'train: there is no {root}/images/train; mend data_root or data_prefix.img_path',
    'the folder of test images is absent': 'test: there is no {root}/images/val',
    'the folder of images is empty': 'train: there is no image *.png in {root}/images/train',
    'the folder of test images is empty': 'test: there is no image *.png in {root}/images/val',
    'the list of images is absent': 'train: there is no {root}/absent.txt; mend data_root or ann_file',
    'the list of images is empty': 'train: there is no image *.png in {root}/images/train, or none is listed',
    'an image of the list is not there': f'{IMAGE} can not be read: there is no such file',
    'an image is no image': f'{IMAGE} can not be read: it is no image',
    'an image is empty': f'{IMAGE} can not be read: it is no image',
}


@pytest.mark.parametrize('kind', [*PLANNED, *LOADED])
def test_every_bad_tree_is_told(tmp_path, kind):
    spoil, message = {**PLANNED, **LOADED}[kind]
    root, cfg = spoilt(tmp_path, spoil)
    told = '\n'.join(check(cfg, images=kind in LOADED).problems)
    assert SAID.get(kind, message).format(root=root) in told


def test_files_that_suffer_from_the_same_are_told_once(tmp_path):
    root, cfg = spoilt(tmp_path, lambda root, cfg: [(root / f'labels/train/00{i}.png').unlink() for i in (1, 3, 8)])
    Image.new('RGB', (32, 32)).save(root / LABEL.replace('003', '005'))
    repaint(root / 'labels/train/000.png', 1, 44)
    repaint(root / 'labels/train/004.png', 1, 44)
    checker = check(cfg)
    folder = f'{root}/labels/train'
    assert checker.problems[:3] == [
        f'{folder}/001.png can not be read: there is no such file for the image {root}/images/train/001.png '
        '(and 2 more like it)',
        f'{folder}/005.png has shape (32, 32, 3), expected a single-channel map of class numbers; convert colours to '
        'class numbers first',
        f'{folder}/000.png holds the label value 44, which is no class of BaseSegDataset; mend the file or name all '
        'classes in metainfo (and 1 more like it)']
    assert cells(checker.tables[0])[0][2:7] == ['12', '9', '3', '0', '4']


def test_images_are_decoded_on_request_only(tmp_path):
    root, cfg = spoilt(tmp_path, lambda root, cfg: (root / IMAGE).write_bytes(b''))
    assert check(cfg).problems == []
    assert len(check(cfg, images=True).problems) == 1


def test_label_maps_without_images(tmp_path):
    root, cfg = spoilt(tmp_path, lambda root, cfg: [(root / f'images/train/00{i}.png').unlink() for i in (3, 7)])
    checker = check(cfg)
    assert checker.problems == [f'{root}/{LABEL} has no image (and 1 more like it)']
    assert cells(checker.tables[0])[0][2:7] == ['10', '12', '0', '2', '0']


def test_sizes(tmp_path):
    root, cfg = spoilt(tmp_path, lambda root, cfg: None)
    for i, size in enumerate([(8, 20), (40, 40), (41, 39)]):
        Image.new('L', size, 255).save(root / f'labels/train/00{i}.png')
    assert cells(check(cfg).tables[0])[0][-1] == '8 x 20 to 40 x 40, 4 different'


def test_parts_of_other_classes(tmp_path):
    root, cfg = spoilt(tmp_path, lambda root, cfg: None)
    cfg.test_dataloader.dataset.metainfo = dict(classes=('background', 'a', 'b', 'c', 'd'))
    assert check(cfg).problems == ['the data sets have different classes; give all of them the same metainfo']


def test_one_part_of_several_is_absent(tmp_path):
    root, cfg = spoilt(tmp_path, lambda root, cfg: None)
    whole = cfg.train_dataloader.dataset.to_dict()
    gone = dict(whole, data_prefix=dict(img_path='images/more', seg_map_path='labels/more'))
    cfg.train_dataloader.dataset = dict(type='ConcatDataset', datasets=[gone, whole])
    checker = check(cfg)
    assert [problem.split(';')[0] for problem in checker.problems] == [
        f'train: there is no {root}/images/more', f'train: there is no {root}/labels/more']
    assert [row[0] for row in cells(checker.tables[0])] == ['train', 'test']
    assert len(checker.tables) == 1


def test_a_scenario_of_other_classes(tmp_path):
    _, cfg = spoilt(tmp_path, lambda root, cfg: None)
    cfg.scenario = dict(steps=[['red', 'pink'], ['blue']])
    checker = check(cfg)
    assert len(checker.problems) == 1 and 'pink' in checker.problems[0]


def test_the_command_on_a_sound_tree(tmp_path, capsys):
    _, cfg = spoilt(tmp_path, lambda root, cfg: None)
    cfg.dump(tmp_path / 'config.py')
    with pytest.raises(SystemExit) as ended:
        main(['check-data', str(tmp_path / 'config.py'), '--cfg-options', 'scenario.base=3'])
    assert ended.value.code == 0
    assert capsys.readouterr().out.endswith('+\n\nnothing to mend\n')


def test_the_command_on_a_bad_tree(tmp_path):
    """In a process of its own: as a user starts it, with an exit status."""
    root, cfg = spoilt(tmp_path, lambda root, cfg: (root / LABEL).write_bytes(b''))
    cfg.dump(tmp_path / 'config.py')
    done = processes.call(TOOL, tmp_path / 'config.py')
    assert (done.returncode, done.stderr) == (1, '')
    assert done.stdout.endswith(f'\nwhat to mend (1):\n- {root}/{LABEL} can not be read: it is no image, or its beginning '
                                'is damaged.\n')


def test_a_data_set_that_does_not_say_what_it_misses(tmp_path):
    """VOC's looks for its files when it is made."""
    cfg = tiny_config(tmp_path, tmp_path)
    cfg.train_dataloader.dataset = dict(
        type='PascalVOCDataset', data_root=str(tmp_path), data_prefix=dict(img_path='JPEGImages', seg_map_path='Segments'),
        ann_file='aug.txt', pipeline=cfg.train_dataloader.dataset.pipeline)
    told = [text for text in check(cfg).problems if text.startswith('train')]
    assert [text.split(';')[0] for text in told] == [
        f'train: there is no {tmp_path}/{place}' for place in ('JPEGImages', 'Segments', 'aug.txt')]


def test_saliency_maps_are_looked_at(tmp_path):
    root = make_data(tmp_path / 'data')
    cfg = tiny_config(root, tmp_path / 'work', continual=dict(unknown=dict(of='saliency', folder='maps')))
    problem, = check(cfg).problems
    assert 'maps/000.png' in problem and '12 of 12' in problem
    (root / 'maps').mkdir()
    for path in (root / 'labels' / 'train').glob('*.png'):
        Image.new('L', (32, 32)).save(root / 'maps' / path.name)
    assert check(cfg).problems == []


def test_data_of_its_own_for_later_steps(tmp_path):
    """It knows white alone, as 1; step 0 has all classes, and so have tests."""
    root, new = make_data(tmp_path / 'data'), make_data(tmp_path / 'new', train=4)
    for number, path in enumerate(sorted((new / 'labels' / 'train').iterdir())):
        Image.new('L', (32, 32), number % 2).save(path)
    own = dict(data_root=str(new), metainfo=dict(classes=('background', 'white'), palette=[[0, 0, 0], [9, 9, 9]]))
    cfg = tiny_config(root, tmp_path / 'work', scenario=dict(base=3, increment=1),
                      next_steps=dict(train_dataloader=dict(dataset=own)))
    checker = check(cfg)
    assert checker.problems == []
    files, classes, steps = map(cells, checker.tables)
    assert [row[:3] for row in files] == [['train, step 0', f'{root}/images/train', '12'], ['train, later steps',
                                          f'{new}/images/train', '4'], ['test', f'{root}/images/val', '4']]
    assert classes == [['background', '0', '14', '4'], ['red', '1', '4', '1'], ['green', '2', '5', '1'],
                       ['blue', '3', '7', '3'], ['white', '4, 1', '7', '2']]
    assert steps == [['0', '4', '10', '3'], ['1', '1', '2', '4']]
    # As the plan has it.
    assert [plan.num_train for plan in ContinualRunner.from_cfg(cfg).plan()] == [10, 2]
    Image.new('L', (32, 32), 2).save(new / 'labels/train/000.png')
    told, = check(cfg).problems
    assert told.startswith(f'{new}/labels/train/000.png holds the label value 2, which is no class')


def test_a_list_with_an_empty_line(tmp_path):
    root, cfg = spoilt(tmp_path, lambda root, cfg: listed(root, cfg, *(f'{i:03}' for i in range(12)), '', '001'))
    told = check(cfg).problems
    assert told[0].startswith(f"{root}/list.txt, line 13: '' is read as the name of an image, {root}/images/train/.png")


def test_a_data_set_that_ignores_another_value(tmp_path):
    root, cfg = spoilt(tmp_path, lambda root, cfg: repaint(root / LABEL, 255, 9))
    assert 'label value 9' in check(cfg).problems[0]
    cfg.train_dataloader.dataset.ignore_index = 9
    assert check(cfg).problems == []


@TRANSFORMS.register_module()
class LoadFromElsewhere(BaseTransform):
    """Images that are no files."""

    def transform(self, results):
        number = int(Path(results['img_path']).stem)
        if number == 7:
            raise ValueError('scene 7 is gone')
        results['img'] = np.zeros((32, 32, 4))
        results['img_shape'] = results['ori_shape'] = (32, 32)
        return results


def test_images_that_only_their_loader_reads(tmp_path):
    root, cfg = spoilt(tmp_path, lambda root, cfg: listed(root, cfg, *(f'{i:03}' for i in range(12))))
    shutil.rmtree(root / 'images/train')
    (root / 'images/train').mkdir()
    cfg.train_dataloader.dataset.pipeline[0] = dict(type='LoadFromElsewhere')
    lone = f'{root}/labels/train/000.png has no image (and 11 more like it)'
    assert check(cfg).problems == [lone]
    assert check(cfg, images=True).problems == [
        f'{root}/images/train/007.png can not be read: ValueError: scene 7 is gone', lone]

"""The scenarios of the papers, with the methods that are compared on them: configs build, plans select."""
import re
from functools import cache

import pytest
from mmengine.config import Config

from mmcss.engine import ContinualRunner, build_scenario, step_config
from mmcss.scenario import CLASS_ORDERS
from tests.experiments import experiment
from tests.makers import write_pair

# Number of steps, and of classes at the first and at the last, background included.
SCENARIOS = {
    'voc_19-1': (2, 20, 21), 'voc_15-5': (2, 16, 21), 'voc_15-1': (6, 16, 21), 'voc_10-5': (3, 11, 21),
    'voc_10-1': (11, 11, 21), 'voc_5-3': (6, 6, 21), 'voc_5-1': (16, 6, 21), 'voc_2-2': (10, 3, 21),
    'voc_2-1': (19, 3, 21), 'voc_19-1_disjoint': (2, 20, 21), 'voc_15-5_disjoint': (2, 16, 21),
    'voc_15-1_disjoint': (6, 16, 21), 'ade_100-50': (2, 101, 151), 'ade_100-10': (6, 101, 151),
    'ade_100-5': (11, 101, 151), 'ade_50-50': (3, 51, 151), 'ade_25-25': (6, 26, 151),
    'ade_100-50_disjoint': (2, 101, 151), 'ade_100-10_disjoint': (6, 101, 151), 'cityscapes_14-1': (6, 15, 20),
    'cityscapes_10-1': (10, 11, 20), 'camvid11_6-1': (6, 7, 12), 'msrc21_15-6': (2, 16, 22),
    'msrc21_15-1': (7, 16, 22), 'msrc21_11-2': (6, 12, 22)
}
# How each method completes labels.
TARGETS = dict(plop='EntropyPseudoLabels', mib=None, ssul_m='SigmoidPseudoLabels', sats='EntropyPseudoLabels')
METHODS = tuple(TARGETS)


read = cache(experiment)


@pytest.mark.parametrize('scenario', SCENARIOS)
@pytest.mark.parametrize('method', METHODS)
def test_first_and_last_step(method, scenario):
    cfg = read(method, scenario)
    steps = build_scenario(cfg)
    number, first, last = SCENARIOS[scenario]
    assert (len(steps), steps[0].num_seen, steps[number - 1].num_seen) == (number, first, last)
    unknown = method == 'ssul_m'  # one more channel
    for step, seen in ((0, first), (number - 1, last)):
        config = step_config(cfg, steps, step)
        assert config.model.decode_head.num_classes == seen + unknown
        assert config.train_dataloader.dataset.view.regime == (
            'disjoint' if scenario.endswith('_disjoint') else 'overlapped')
        assert (config.model.continual.teacher is None) is (step == 0)
        assert (config.model.continual.targets or {}).get('type') == TARGETS[method]
        assert ('path' in config.train_dataloader.dataset) is (unknown and step > 0)


@pytest.mark.parametrize('method', METHODS)
def test_a_method_trains_all_scenarios_of_a_data_set_alike(method):
    """But for the epochs of PLOP's code in VOC 10-1, which stand under 'official'."""
    for data in {name.split('_')[0] for name in SCENARIOS}:
        settings = []
        for name in (name for name in SCENARIOS if name.split('_')[0] == data):
            cfg = read(method, name)._cfg_dict.to_dict()
            settings.append({key: value for key, value in cfg.items() if key not in ('scenario', 'official')})
        assert all(one == settings[0] for one in settings), data


def test_crops_of_cityscapes_are_padded_to_their_own_size():
    for method in METHODS:
        cfg = read(method, 'cityscapes_14-1')
        assert cfg.model.data_preprocessor.size == cfg.crop_size == (512, 1024)


@pytest.mark.parametrize('profile', ['paper', 'official'])
@pytest.mark.parametrize('method', METHODS)
def test_cityscapes_is_scored_without_the_background_that_it_lacks(method, profile):
    cfg = Config(read(method, 'cityscapes_10-1')._cfg_dict.to_dict())
    cfg.profile = profile
    view = step_config(cfg, build_scenario(cfg), 0).test_dataloader.dataset.view
    assert (view.role, view.background) == ('test', False)


def test_a_published_order_by_its_name():
    cfg = Config(read('plop', 'voc_15-1')._cfg_dict.to_dict())
    plain = build_scenario(cfg)
    names = sum(plain.steps, ())
    cfg.merge_from_dict({'scenario.class_order': 'voc_c'})
    assert sum(build_scenario(cfg).steps, ()) == tuple(names[i - 1] for i in CLASS_ORDERS['voc_c'])
    assert build_scenario(cfg).steps[1:] == (('dog', ), ('motorbike', ), ('bus', ), ('aeroplane', ), ('bicycle', ))


def write_voc(root):
    """One image for each class and one for the first and the last in the data set's own list, one more in the other."""
    lists = dict(train={f't{i}': (0, i) for i in range(1, 21)}, aug={'a1': (0, 1)}, val={'v': range(21)})
    lists['train']['both'] = (0, 1, 20)
    (root / 'ImageSets' / 'Segmentation').mkdir(parents=True)
    for name, images in lists.items():
        (root / 'ImageSets' / 'Segmentation' / f'{name}.txt').write_text('\n'.join(images))
        labels = root / f"SegmentationClass{'Aug' if name == 'aug' else ''}"
        for stem, values in images.items():
            write_pair(root / 'JPEGImages' / f'{stem}.jpg', labels / f'{stem}.png', values)
            # Maps of saliency, of the size of the image.
            write_pair(root / 'unused.jpg', root / 'saliency_map' / f'{stem}.png', values)


def write_ade(root):
    """One image for each class and one for the first and the last."""
    images = {f'{i}': (0, i) for i in range(1, 151)}
    images['both'] = (0, 1, 150)
    for role, content in (('training', images), ('validation', {'v': range(151)})):
        for stem, values in content.items():
            write_pair(root / 'images' / role / f'{stem}.jpg', root / 'annotations' / role / f'{stem}.png', values)


def write_cityscapes(root):
    """One image for each class and one for the first and the last, in two cities; no label says background."""
    images = {f'ulm/{i}': (i, 255) for i in range(19)}
    images['jena/both'] = (0, 18)
    for role, content in (('train', images), ('val', {'munster/v': range(19)})):
        for stem, values in content.items():
            write_pair(root / 'leftImg8bit' / role / f'{stem}_leftImg8bit.png',
                       root / 'gtFine' / role / f'{stem}_gtFine_labelTrainIds.png', values)


TREES = dict(voc=('VOCdevkit/VOC2012', write_voc), ade=('ade/ADEChallengeData2016', write_ade),
             cityscapes=('cityscapes', write_cityscapes))
CITYSCAPES_14_1 = [15, 1, 1, 1, 1, 2]


@pytest.mark.parametrize('method, scenario, images', [
    ('plop', 'voc_15-1_disjoint', [16, 1, 1, 1, 1, 2]),
    ('mib', 'voc_10-5', [12, 5, 6]),
    ('ssul_m', 'voc_2-2', [4, 2, 2, 2, 2, 2, 2, 2, 2, 3]),
    ('sats', 'voc_5-1', [7] + [1] * 14 + [2]),
    ('mib', 'ade_100-50_disjoint', [100, 51]),
    ('ssul_m', 'ade_50-50', [51, 50, 51]),
    ('sats', 'ade_25-25', [26, 25, 25, 25, 25, 26]),
    *((method, 'cityscapes_14-1', CITYSCAPES_14_1) for method in METHODS),
])
def test_dry_run(tmp_path, monkeypatch, method, scenario, images):
    place, write = TREES[scenario.split('_')[0]]
    write(tmp_path / 'data' / place)
    monkeypatch.chdir(tmp_path)
    cfg = Config(read(method, scenario)._cfg_dict.to_dict())
    cfg.work_dir = 'work'
    # That of these networks takes ten seconds each: once for each of the two.
    cfg.merge_from_dict(dict(run=dict(rehearsal=(method, scenario) in [('plop', 'voc_15-1_disjoint'), ('sats', 'ade_25-25')])))
    told = ContinualRunner.from_cfg(cfg).describe()
    rows = re.findall(r'^\| +(\d+) \| train +\| +(\d+) \| +(\d+) \| +(\d+) \|', told, re.MULTILINE)
    assert [int(row[1]) for row in rows] == images
    assert {row[2] for row in rows} == {'1'}
    assert [int(row[3]) for row in rows] == [split.num_seen for split in build_scenario(cfg)]
    assert not (tmp_path / 'work').exists()

"""Tests with test-time augmentation."""
import json
from pathlib import Path

import pytest
import torch
from mmengine.config import Config
from mmengine.dataset import Compose, pseudo_collate
from mmengine.model import revert_sync_batchnorm
from mmseg.registry import DATASETS, MODELS, VISUALIZERS

from mmcss.engine import AugmentedTest, ContinualRunner
from mmcss.engine.augmented_test import augmented_config
from mmcss.engine.folders import StepFolder
from mmcss.engine.config_nodes import walk
from mmcss.engine.step_config import training_settings
from mmcss.models import save_hand_over
from tests.tiny import PLOP, SSUL_M, loader, tiny_config

DATASETS_OF_CONFIGS = Path(__file__).resolve().parents[2] / 'configs' / '_base_' / 'datasets'
NEAREST = dict(classifier='NearestMean', memory=dict(size=4))


def flips(*probabilities):
    """A pipeline of one prediction for each probability of a flip."""
    return dict(tta_model=dict(type='SegTTAModel'), tta_pipeline=[
        dict(type='LoadImageFromFile'),
        dict(type='TestTimeAug', transforms=[[dict(type='RandomFlip', prob=prob, direction='horizontal') for prob in probabilities],
                                             [dict(type='LoadAnnotations')], [dict(type='PackSegInputs')]])])


def spread_predictions(model):
    """Have random weights predict several classes."""
    for name, value in model.state_dict().items():
        if 'conv_seg' in name:
            value.normal_(std=50)


def trained(cfg):
    """Have all steps of a run trained, in that random weights are handed over."""
    runner = ContinualRunner(cfg)
    parent = None
    for split, config in zip(runner.scenario, runner.configs):
        folder = runner.progress.folder(split.step)
        folder.begin(runner.progress.about(split.step), training_settings(config))
        model = MODELS.build(dict(config.model, continual=dict(config.model.continual, previous=None, teacher=None)))
        spread_predictions(model)
        save_hand_over(folder.hand_over, model.state_dict(),
                       dict(classes=list(split.seen), id=f'id{split.step}', parent=parent, step=split.step))
        parent = f'id{split.step}'
    return cfg


def results(work_dir, name):
    return [json.loads(path.read_text()) for path in sorted(work_dir.glob(f'step_*/{name}'))]


@pytest.mark.parametrize('method', [PLOP, SSUL_M, NEAREST], ids=['plop', 'unknown', 'nearest_mean'])
def test_predictions_are_the_mean_over_the_ways(tiny_data, tmp_path, method):
    torch.manual_seed(0)  # weights that predict several classes
    cfg = tiny_config(tiny_data, tmp_path, continual=method, scenario=dict(type='ClassIncremental', base=4), **flips(0., 1.))
    runner = ContinualRunner(cfg)
    augmented = augmented_config(runner.configs[0], runner.progress.folder(0))
    model = revert_sync_batchnorm(MODELS.build(augmented.model)).eval()
    ways = pseudo_collate([DATASETS.build(augmented.test_dataloader.dataset)[0]])
    ordinary = pseudo_collate([DATASETS.build(runner.configs[0].test_dataloader.dataset)[0]])
    spread_predictions(model.module)
    with torch.no_grad():
        # No class's logits shall be the highest everywhere.
        images = model.module.data_preprocessor(ordinary)['inputs']
        logits = model.module.encode_decode(images, [dict(img_shape=images.shape[2:])])
        model.module.decode_head.conv_seg.bias -= logits.mean(dim=(0, 2, 3))
        merged, alone, one = model.test_step(ways)[0], model.module.test_step(ordinary)[0], model.test_step(
            {key: value[:1] for key, value in ways.items()})[0]
        each = [model.module.test_step({key: value[way] for key, value in ways.items()})[0] for way in range(2)]
    mean = sum(sample.seg_logits.data.softmax(dim=0) for sample in each) / 2
    assert torch.equal(merged.pred_sem_seg.data[0], mean.argmax(dim=0))
    assert torch.equal(one.pred_sem_seg.data, alone.pred_sem_seg.data)
    assert torch.equal(merged.gt_sem_seg.data, alone.gt_sem_seg.data)
    assert len(mean) == 5 and len(alone.pred_sem_seg.data.unique()) > 1


def test_results_stand_beside_the_ordinary_ones(tiny_data, tmp_path):
    """Each of an image's predictions knows its domain; each of several data sets is augmented."""
    both = loader(tiny_data, 'val')
    both['dataset'] = dict(type='ConcatDataset', datasets=[both['dataset'], both['dataset']])
    scenario = dict(type='DomainIncremental', domains=[['0', '1'], ['2', '3']], rule=dict(regex=r'00(\d)'))
    cfg = trained(tiny_config(tiny_data, tmp_path, continual={}, scenario=scenario, test_dataloader=both,
                              run=dict(steps='1'), **flips(0.)))
    assert ContinualRunner(cfg).test() == AugmentedTest(cfg).test() == {}
    (ordinary, ), (augmented, ) = results(tmp_path, 'result.json'), results(tmp_path, 'result_tta.json')
    assert augmented == ordinary and augmented['num_test_images'] == 8
    assert len(augmented['domains']) == 4 and augmented['hand_over'] == 'id1'
    before = {path: path.read_bytes() for path in tmp_path.glob('**/result*.json')}
    assert set(AugmentedTest(Config(dict(cfg, run=dict(steps='0')))).test()['matrix']) == {'0', '1', '2', '3'}
    written = {path.name for path in tmp_path.glob('**/result*.json') if path not in before}
    assert written == {'result_tta.json', 'results_tta.json'}
    assert {path: path.read_bytes() for path in before} == before


@pytest.mark.parametrize('left_out', ['tta_model', 'tta_pipeline'])
def test_what_is_missing_is_told(tiny_data, tmp_path, left_out):
    cfg = tiny_config(tiny_data, tmp_path, **{key: value for key, value in flips(0.).items() if key != left_out})
    with pytest.raises(ValueError, match=f'--tta: the config has no {left_out}. Take tta_model=dict'):
        AugmentedTest(cfg)


def test_the_step_s_own_config_stays(tmp_path):
    """A runner writes its config into its folder by the name of the file."""
    path = tmp_path / 'method.py'
    path.write_text('x = 1\n')
    ordinary = Config(dict(model=dict(type='A'), test_dataloader=dict(dataset=dict(type='D', pipeline=[])), custom_hooks=[
        dict(type='ResultHook', path='result.json')], load_from='x', **flips(0.)), filename=str(path))
    augmented = augmented_config(ordinary, StepFolder(tmp_path, 0))
    assert augmented.filename == str(tmp_path / 'method_tta.py')
    assert augmented.model.to_dict() == dict(type='SegTTAModel', module=dict(type='A'))
    assert augmented.test_dataloader.dataset.pipeline == augmented.tta_pipeline
    assert (augmented.load_from, ordinary.model.type, ordinary.custom_hooks[0].path) == (None, 'A', 'result.json')


@pytest.mark.parametrize('name', sorted(path.stem for path in DATASETS_OF_CONFIGS.glob('*.py')))
def test_each_data_set_has_its_augmentation(name):
    """Whose ways all see the same labels."""
    pipeline = Config.fromfile(DATASETS_OF_CONFIGS / f'{name}.py').tta_pipeline
    kinds = [node['type'] for node in walk(pipeline)]
    assert {'LoadImageFromFile', 'LoadAnnotations', 'TestTimeAug', 'RandomFlip', 'PackSegInputs'} <= set(kinds)
    assert len(Compose(pipeline).transforms[-1].subroutines) == (2 if name == 'voc2012_mib_crops' else 12)


def test_the_default_runtime_serves_the_stock_tools():
    runtime = Config.fromfile(DATASETS_OF_CONFIGS.parent / 'default_runtime.py')
    assert runtime.tta_model.type == 'SegTTAModel'
    assert type(VISUALIZERS.build(runtime.visualizer)).__name__ == 'SegLocalVisualizer'

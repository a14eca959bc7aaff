"""What MMSegmentation's own tools make of a step."""
import numpy as np
import pytest
from mmengine.config import Config
from mmengine.runner import Runner
from mmseg.apis import MMSegInferencer, inference_model, init_model
from mmseg.registry import DATASETS, MODELS

from mmcss.engine import build_scenario, deploy_config, step_config
from mmcss.engine.deploy import deployed
from mmcss.models import save_hand_over
from tests.tiny import PLOP, SSUL_M, tiny_config

STEP = 1
UNKNOWN = {key: value for key, value in SSUL_M.items() if key != 'memory'}
COSINE = dict(classifier='CosineClassifier')


def left(tiny_data, folder, **changes):
    """``deploy.py`` and ``step_1.pth`` of a step, untrained."""
    cfg = tiny_config(tiny_data, folder, **changes)
    scenario = build_scenario(cfg)
    deploy = deploy_config(cfg, scenario, STEP)
    deploy.dump(str(folder / 'deploy.py'))
    config = step_config(cfg, scenario, STEP)
    dataset = DATASETS.build(config.train_dataloader.dataset)
    meta = dict(classes=list(dataset.metainfo['classes']), dataset_meta=dict(dataset.metainfo))
    save_hand_over(folder / 'step_1.pth', MODELS.build(deploy.model).state_dict(), meta)
    return str(folder / 'deploy.py'), str(folder / 'step_1.pth')


@pytest.mark.parametrize('method, imports', [(PLOP, None), (UNKNOWN, ['mmcss']), (COSINE, ['mmcss'])])
def test_the_inferencer_predicts_as_the_model_does(tiny_data, tmp_path, method, imports):
    files = left(tiny_data, tmp_path, continual=method)
    assert Config.fromfile(files[0]).get('custom_imports', {}).get('imports') == imports
    folder = tiny_data / 'images' / 'val'
    images = sorted(map(str, folder.iterdir()))
    inferencer = MMSegInferencer(*files, device='cpu')
    model = init_model(*files, device='cpu')
    expected = [inference_model(model, image).pred_sem_seg.data[0].numpy() for image in images]
    assert all(prediction.max() < 4 for prediction in expected)
    of_list = inferencer(images, batch_size=2)['predictions']
    np.testing.assert_array_equal(of_list, expected)
    np.testing.assert_array_equal(inferencer(str(folder))['predictions'][0].shape, (32, 32))
    drawn = inferencer(images[0], return_vis=True)
    np.testing.assert_array_equal(drawn['predictions'], expected[0])
    assert drawn['visualization'].shape == (32, 32, 3)
    assert inferencer(np.zeros((20, 24, 3), np.uint8))['predictions'].shape == (20, 24)
    assert tuple(model.dataset_meta['classes']) == ('background', 'red', 'green', 'blue')
    assert model.dataset_meta['palette'] == [[0, 0, 0], [255, 0, 0], [0, 255, 0], [0, 0, 255]]


def test_colours_follow_the_order_of_learning(tiny_data, tmp_path):
    files = left(tiny_data, tmp_path, scenario=dict(type='ClassIncremental', steps=[['white', 'blue'], ['red'], ['green']]))
    meta = init_model(*files, device='cpu').dataset_meta
    assert tuple(meta['classes']) == ('background', 'white', 'blue', 'red')
    assert meta['palette'] == [[0, 0, 0], [255, 255, 255], [0, 0, 255], [255, 0, 0]]


def test_classes_without_palette_are_drawn_in_colours_of_their_own(tiny_data, tmp_path):
    cfg = tiny_config(tiny_data, tmp_path)
    loader = cfg.train_dataloader.to_dict()
    del loader['dataset']['metainfo']['palette']
    palette = init_model(*left(tiny_data, tmp_path, train_dataloader=loader), device='cpu').dataset_meta['palette']
    assert len({tuple(colour) for colour in palette}) == 4


def test_its_images_can_be_gone_through(tiny_data, tmp_path):
    """As benchmark.py does; there are no labels, which stock MMSegmentation would score otherwise than the run."""
    cfg = tiny_config(tiny_data, tmp_path)
    deploy = deploy_config(cfg, build_scenario(cfg), STEP)
    samples = [batch['data_samples'][0] for batch in Runner.build_dataloader(deploy.test_dataloader)]
    assert len(samples) == 4 and not any('gt_sem_seg' in sample for sample in samples)
    assert set(deploy) == {'default_scope', 'model', 'data_preprocessor', 'test_pipeline', 'test_dataloader', 'visualizer',
                           'label_values'}
    assert deploy.data_preprocessor == deploy.model.data_preprocessor


def test_label_values_are_those_of_the_data_set(tiny_data, tmp_path):
    cfg = tiny_config(tiny_data, tmp_path, scenario=dict(steps=[['white', 'blue'], ['red'], ['green']]))
    assert [deploy_config(cfg, build_scenario(cfg), step).label_values for step in (0, 1)] == [[0, 4, 3], [0, 4, 3, 1]]
    for loader in (cfg.train_dataloader, cfg.test_dataloader):  # the background is not among the labels
        loader.dataset.metainfo = dict(classes=['red', 'green', 'blue', 'white'])
    assert deploy_config(cfg, build_scenario(cfg), STEP).label_values == [255, 3, 2, 0]


class Foreign:
    """A part of a model that comes from a package of the user's."""


@pytest.fixture
def foreign(monkeypatch):
    monkeypatch.setattr(Foreign, '__module__', 'their_package.heads')
    for registry in (MODELS, DATASETS):
        monkeypatch.setitem(registry._module_dict, 'Foreign', Foreign)


@pytest.mark.parametrize('head, given, imports', [
    ('FCNHead', ['mmcss', 'their_package'], None),
    ('Foreign', ['mmcss', 'their_package'], ['their_package']),
    ('Foreign', 'their_package', ['their_package']),
    ('CosineClassifier', ['mmcss', 'their_package'], ['mmcss']),
])
def test_only_what_the_model_needs_is_imported(foreign, head, given, imports):
    config = deployed(dict(type='EncoderDecoder', decode_head=dict(type=head)), dict(type='BaseSegDataset', pipeline=[]),
                      dict(imports=given, allow_failed_imports=True), [0])
    assert config.get('custom_imports', {}).get('imports') == imports


def test_a_data_set_of_the_user_s_is_left_out(foreign):
    pipeline = [dict(type='LoadImageFromFile'), dict(type='LoadAnnotations'), dict(type='PackSegInputs')]
    config = deployed(dict(type='EncoderDecoder'), dict(type='Foreign', theirs=1, pipeline=pipeline), {}, [0])
    assert config.test_dataloader.dataset.to_dict() == dict(
        type='BaseSegDataset', test_mode=True, pipeline=[dict(type='LoadImageFromFile'), dict(type='PackSegInputs')])

"""The config of a step, without running it."""
import copy
from pathlib import Path

import pytest
from mmengine.config import Config

from mmcss.engine import ContinualRunner, build_scenario, deploy_config, step_config
from mmcss.engine.model_config import extended_model
from mmcss.engine.profiles import with_profile
from mmcss.engine.settings import read_settings
from tests.experiments import experiment
from tests.tiny import CLASSES, MIB, loader, tiny_config

CONFIGS = Path(__file__).resolve().parents[2] / 'configs'


def configs(tmp_path, world_size=1, **changes):
    cfg = tiny_config(tmp_path / 'data', 'work', **changes)
    scenario = build_scenario(cfg)
    return cfg, [step_config(cfg, scenario, step, world_size=world_size) for step in range(len(scenario))]


def test_another_folder_may_be_given(tmp_path):
    cfg, _ = configs(tmp_path)
    config = step_config(cfg, build_scenario(cfg), 1, 'other')
    assert (config.work_dir, config.model.continual.previous) == ('other/step_1', 'other/step_0/step_0.pth')
    assert step_config(cfg, build_scenario(cfg), 1).work_dir == 'work/step_1'


def test_it_is_pure(tmp_path):
    cfg, first = configs(tmp_path)
    before = copy.deepcopy(cfg._cfg_dict.to_dict())
    scenario = build_scenario(cfg)
    again = [step_config(cfg, scenario, step) for step in range(3)]
    assert cfg._cfg_dict.to_dict() == before
    assert [config.pretty_text for config in again] == [config.pretty_text for config in first]


def test_tests_see_the_share_of_the_training_images_that_is_kept_for_them(tmp_path):
    cfg, steps = configs(tmp_path, scenario=dict(base=2, increment=1, test_share=0.5))
    training, tests = steps[1].train_dataloader.dataset, steps[1].test_dataloader.dataset
    assert (training.test_share, tests.test_share) == (0.5, 0.5)
    assert tests.dataset.data_prefix == cfg.train_dataloader.dataset.data_prefix
    assert tests.dataset.pipeline == cfg.test_dataloader.dataset.pipeline != training.dataset.pipeline


def test_own_keys_are_gone_and_names_are_unique(tmp_path):
    _, steps = configs(tmp_path)
    for step, config in enumerate(steps):
        assert not set(config) & {'scenario', 'continual', 'protocol', 'first_step', 'next_steps', 'runner_type'}
        assert config.work_dir == f'work/step_{step}'
        assert config.experiment_name == config.visualizer.name == f'run_step_{step}'
        assert (config.load_from, config.resume) == (None, False)


def test_runs_are_called_by_the_folder_and_name_of_their_config(tmp_path):
    """The folder says the method: many configs have the same name."""
    for method in ('plop', 'mib'):
        path = tmp_path / method / 'fcn.py'
        path.parent.mkdir()
        tiny_config(tmp_path / 'data', tmp_path / 'work').dump(str(path))
        cfg = Config.fromfile(str(path))
        assert step_config(cfg, build_scenario(cfg), 1).experiment_name == f'{method}_fcn_step_1'
        cfg.work_dir = None
        assert ContinualRunner(cfg).work_dir == Path('work_dirs', method, 'fcn')


def test_which_weights_are_handed_over(tmp_path):
    checkpoint = dict(default_hooks=dict(checkpoint=dict(type='CheckpointHook', save_best='mIoU')))
    validation = dict(val_dataloader=loader(tmp_path, 'val'), val_evaluator=[], val_cfg=dict(type='ValLoop'))
    best = dict(run=dict(hand_over='best'))
    for changes, number in ((best, 1), (dict(run=dict(hand_over='last')), 0), ({}, 0)):
        _, steps = configs(tmp_path, **checkpoint, **validation, **changes)
        assert [hooks(config).count('BestWeightsHook') for config in steps] == [number] * 3
    for changes in (checkpoint, validation):
        with pytest.raises(ValueError, match="run.hand_over='best' needs save_best in default_hooks.checkpoint, and val"):
            configs(tmp_path, **changes, **best)
    with pytest.raises(ValueError, match="run.hand_over: got 'first', expected 'last' or 'best'"):
        configs(tmp_path, run=dict(hand_over='first'))


def test_overrides_of_first_and_next_steps(tmp_path):
    _, steps = configs(tmp_path, first_step=dict(train_cfg=dict(max_epochs=7)))
    assert [config.train_cfg.max_epochs for config in steps] == [7, 3, 3]
    assert [config.optim_wrapper.optimizer.lr for config in steps] == [0.05, 0.01, 0.01]


def test_the_model_of_each_step(tmp_path):
    _, steps = configs(tmp_path)
    assert [config.model.type for config in steps] == ['ContinualEncoderDecoder'] * 3
    assert [config.model.decode_head.num_classes for config in steps] == [3, 4, 5]
    assert [config.model.continual.previous for config in steps] == [
        None, 'work/step_0/step_0.pth', 'work/step_1/step_1.pth']
    assert steps[0].model.continual.teacher is None
    teacher = steps[2].model.continual.teacher
    assert (teacher.type, teacher.decode_head.num_classes, teacher.auxiliary_head) == ('EncoderDecoder', 4, None)
    assert all(config.model.decode_head.loss_decode.avg_non_ignore for config in steps)


def test_fine_tuning_has_no_teacher(tmp_path):
    _, steps = configs(tmp_path, continual={})
    assert all(config.model.continual.teacher is None for config in steps)
    assert steps[1].model.continual.previous is not None


def test_a_method_s_loss_takes_the_place_of_cross_entropy(tmp_path):
    _, steps = configs(tmp_path, continual=MIB)
    assert [config.model.decode_head.loss_decode.type for config in steps] == [
        'CrossEntropyLoss', 'UnbiasedCrossEntropyLoss', 'UnbiasedCrossEntropyLoss']
    assert [config.model.decode_head.loss_decode.get('num_old') for config in steps] == [None, 3, 4]


def test_pretrained_weights_are_fetched_at_step_0_only(tmp_path):
    cfg = tiny_config(tmp_path, tmp_path)
    model = dict(cfg.model, pretrained='open-mmlab://resnet18_v1c')
    _, steps = configs(tmp_path, model=model)
    assert [config.model.pretrained for config in steps] == ['open-mmlab://resnet18_v1c', None, None]
    assert steps[1].model.continual.teacher.pretrained is None


def test_the_data_of_each_step(tmp_path):
    _, steps = configs(tmp_path, world_size=2, protocol=dict(future='ignore'))
    train, test = steps[1].train_dataloader.dataset, steps[1].test_dataloader.dataset
    assert (train.type, train.dataset.type, train.min_length) == ('StepDataset', 'BaseSegDataset', 8)
    assert train.view.to_dict() == dict(
        role='train', regime='overlapped', ignore_as_background=False, keep_old_labels=False, unknown=None)
    assert test.view.to_dict() == dict(role='test', future='ignore', background=True, images='seen', absent='stock')
    assert train.split.old + train.split.new == list(CLASSES[:4])
    assert steps[1].test_dataloader.sampler.round_up is False
    assert steps[1].train_dataloader.persistent_workers is False


def test_a_stock_evaluator_gets_company(tmp_path):
    _, steps = configs(tmp_path, test_evaluator=dict(type='IoUMetric', iou_metrics=['mIoU']))
    assert [metric.type for metric in steps[0].test_evaluator] == ['IoUMetric', 'ContinualIoUMetric']
    for metrics in (dict(type='IoUMetric'), [dict(type='IoUMetric')], [dict(type='IoUMetric'), dict(type='ContinualIoUMetric')]):
        _, steps = configs(tmp_path, test_evaluator=dict(type='Evaluator', metrics=metrics))
        assert steps[0].test_evaluator.type == 'Evaluator'
        assert [metric.type for metric in steps[0].test_evaluator.metrics] == ['IoUMetric', 'ContinualIoUMetric']


def test_the_test_data_of_a_config_with_validation_only(tmp_path):
    cfg = tiny_config(tmp_path, tmp_path)
    loader = cfg.test_dataloader
    _, steps = configs(tmp_path, val_dataloader=loader, test_dataloader=None, val_cfg=dict(type='ValLoop'),
                       val_evaluator=dict(type='IoUMetric'), test_evaluator=None)
    assert steps[0].val_dataloader.dataset.type == steps[0].test_dataloader.dataset.type == 'StepDataset'
    assert steps[0].test_evaluator[0].type == 'ContinualIoUMetric'


def test_deploy_config_is_stock(tmp_path):
    cfg = tiny_config(tmp_path, tmp_path)
    deploy = deploy_config(cfg, build_scenario(cfg), 1)
    assert deploy.model.type == 'EncoderDecoder'
    assert deploy.model.decode_head.num_classes == 4
    assert 'mmcss' not in deploy.pretty_text and 'Continual' not in deploy.pretty_text
    assert [transform.type for transform in deploy.test_pipeline] == ['LoadImageFromFile', 'PackSegInputs']


@pytest.mark.parametrize('change, message', [
    (dict(continual=dict(loses={})), "continual.loses: there is no such setting, did you mean 'losses'\\?; valid are new_rows, frozen"),
    (dict(protocol=dict(future='x')), "protocol.future: got 'x'"),
    (dict(protocol=dict(futre='ignore')), "protocol.futre: there is no such setting, did you mean 'future'\\?; valid are future, background"),
    (dict(protocol='plopp'), "protocol: got 'plopp', expected one of default, plop"),
    (dict(scenario={}), r"the config lacks \['scenario'\]"),
    (dict(scenario='2-1'), "scenario: got '2-1', expected a dict"),
    (dict(continual='plop'), "continual: got 'plop', expected a dict"),
    (dict(continual=dict(over_processes='each')), "continual.over_processes: got 'each', expected True or False"),
    (dict(continual=dict(frozen='shared')), "continual.frozen: got 'shared', expected a list"),
    (dict(next_steps=dict(continual=dict(lossses={}))), "continual.lossses: there is no such setting, did you mean 'losses'"),
    (dict(next_steps=dict(continual=dict(memory=dict(sise=3)))), "continual.memory.sise: there is no such setting, did you mean 'size'"),
    (dict(first_step=dict(scenario=dict(base=3))), r"first_step: got \['scenario'\], which are the same at all steps"),
])
def test_bad_settings(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        read_settings(tiny_config(tmp_path, tmp_path, **change))


@pytest.mark.parametrize('scenario, message', [
    (dict(type='Other'), "scenario.type: got 'Other', expected 'ClassIncremental' or 'DomainIncremental'"),
    (dict(base=2, incremnt=1), "scenario.incremnt: there is no such setting, did you mean 'increment'"),
    (dict(base=9), 'has 4 foreground classes'),
])
def test_bad_scenarios(tmp_path, scenario, message):
    with pytest.raises(ValueError, match=message):
        build_scenario(tiny_config(tmp_path, tmp_path, scenario=scenario))


def test_unknown_class_names(tmp_path):
    cfg = tiny_config(tmp_path, tmp_path)
    del cfg.train_dataloader.dataset['metainfo']
    with pytest.raises(ValueError, match='class names of BaseSegDataset are not known'):
        build_scenario(cfg)


def test_stock_ade20k_keeps_its_background(tmp_path):
    cfg = tiny_config(tmp_path, tmp_path, scenario=dict(steps='100-50'))
    cfg.train_dataloader.dataset = dict(type='ADE20KDataset', data_root='data', pipeline=[])
    scenario = build_scenario(cfg)
    assert scenario[0].seen[:2] == ('background', 'wall')
    assert scenario[1].num_seen == 151


def test_the_deploy_config_of_mmcss_s_own_network():
    """It imports mmcss, and segments all of an image."""
    cfg = Config.fromfile(CONFIGS / 'plop' / 'deeplabv3_r101_inplace_abn_voc_15-1_mib_crops_official.py')
    deploy = deploy_config(cfg, build_scenario(cfg), 1)
    assert deploy.custom_imports.imports == ['mmcss']
    assert [step.type for step in deploy.test_pipeline] == ['LoadImageFromFile', 'ResizeShortestEdge', 'PackSegInputs']
    assert (deploy.model.decode_head.num_classes, deploy.model.backbone.init_cfg) == (17, None)


@pytest.mark.parametrize('file', sorted(CONFIGS.glob('[!_]*/*.py')), ids=lambda file: f'{file.parent.name}/{file.stem}')
def test_every_config_that_ships_makes_its_steps(file):
    cfg = Config.fromfile(str(file))
    read_settings(cfg)
    scenario = build_scenario(cfg)
    steps = [step_config(cfg, scenario, step) for step in range(len(scenario))]
    unknown = bool(cfg.continual.get('unknown'))
    assert steps[-1].model.decode_head.num_classes == scenario[len(scenario) - 1].num_seen + unknown
    assert len(file.read_text().splitlines()) <= 10


SSUL = dict(
    unknown=dict(of='background'), targets=dict(type='SigmoidPseudoLabels'), new_rows='unknown',
    frozen=['shared', 'old'], loss_decode=dict(type='BinaryCrossEntropyLoss', classes='all'),
    classifier=dict(type='StepHeads'))
MEMORY = dict(size=4, policy='herding', labels='seen', share=.25, iterations='all_new')


def hooks(config):
    return [hook.type for hook in config.custom_hooks]


def test_the_model_of_each_step_with_an_unknown_class(tmp_path):
    """It has one channel more than classes, as its teacher has."""
    model = tiny_config(tmp_path, tmp_path).model.to_dict()
    loss = dict(type='CrossEntropyLoss', class_weight=[.1, .2, .3, .4, .5])
    model['auxiliary_head'] = dict(model['decode_head'], in_channels=32, in_index=2, loss_decode=loss)
    _, steps = configs(tmp_path, model=model, continual=dict(SSUL, loss_decode=None, row_lr=dict(background=.1)))
    assert [config.model.type for config in steps] == ['ContinualEncoderDecoder'] * 3
    assert all(config.model.unknown is True for config in steps)
    for head in ('decode_head', 'auxiliary_head'):
        assert [config.model[head].num_classes for config in steps] == [4, 5, 6]
    assert [config.model.auxiliary_head.loss_decode.class_weight for config in steps] == [
        [.1, .2, .3, 1.], [.1, .2, .3, .4, 1.], [.1, .2, .3, .4, .5, 1.]]
    assert [config.model.classifier.steps for config in steps] == [[2], [2, 1], [2, 1, 1]]
    teacher = steps[2].model.continual.teacher
    assert (teacher.type, teacher.unknown, teacher.decode_head.num_classes) == ('ExtendedEncoderDecoder', True, 5)
    assert teacher.classifier.to_dict() == dict(type='StepHeads', steps=[2, 1])
    assert steps[1].model.continual.frozen == ['shared', 'old']
    assert steps[1].model.continual.row_lr == dict(background=.1)


def test_the_labels_of_unknown(tmp_path):
    _, steps = configs(tmp_path, continual=SSUL)
    assert [config.train_dataloader.dataset.view.unknown for config in steps] == ['background'] * 3
    assert all('saliency' not in config.train_dataloader.dataset for config in steps)
    assert all('unknown' not in config.test_dataloader.dataset.view for config in steps)
    for folder, expected in ((dict(), 'saliency_map'), (dict(folder='../maps'), '../maps')):
        _, steps = configs(tmp_path, continual=dict(SSUL, unknown=dict(of='saliency', **folder)))
        assert [config.train_dataloader.dataset.saliency for config in steps] == [expected] * 3
        assert steps[0].train_dataloader.dataset.view.unknown == 'saliency'


@pytest.mark.parametrize('change, settings', [
    (dict(classifier=None), {}), ({}, dict(classifier=dict(type='StepHeads', steps=[2, 1])))])
def test_the_deploy_config_of_a_model_with_an_unknown_class(tmp_path, change, settings):
    cfg = tiny_config(tmp_path, tmp_path, continual=dict(SSUL, **change))
    deploy = deploy_config(cfg, build_scenario(cfg), 1)
    assert (deploy.model.type, deploy.model.unknown) == ('ExtendedEncoderDecoder', True)
    assert deploy.model.decode_head.num_classes == 5
    assert {key: deploy.model[key].to_dict() for key in ('classifier', ) if key in deploy.model} == settings
    assert deploy.custom_imports.to_dict() == dict(imports=['mmcss'], allow_failed_imports=False)
    assert 'Continual' not in deploy.pretty_text


@pytest.mark.parametrize('scores, found', [
    ({}, None), (dict(scores='sigmoid'), None), (dict(scores='softmax'), 'softmax')])
def test_the_scores_of_unknown(tmp_path, scores, found):
    """Student, teacher and the deployed model merge the same; the default is not written down."""
    cfg, steps = configs(tmp_path, continual=dict(SSUL, unknown=dict(of='background', **scores)))
    read_settings(cfg)
    models = [steps[1].model, steps[1].model.continual.teacher, deploy_config(cfg, build_scenario(cfg), 1).model]
    assert [model.get('unknown_scores') for model in models] == [found] * 3


def test_ssul_with_cross_entropy():
    """The line of the paper's table 3: the inherited loss is out, the stock one is back."""
    cfg = experiment('ssul', 'shapes8_5-1')
    line = dict(unknown=dict(scores='softmax'), loss_decode=None, targets=dict(softmax=True))
    cfg.merge_from_dict(dict(continual=line))
    read_settings(cfg)
    scenario = build_scenario(cfg)
    for step in range(2):
        model = step_config(cfg, scenario, step).model
        assert model.decode_head.loss_decode.type == 'CrossEntropyLoss' and model.unknown_scores == 'softmax'
        assert not model.decode_head.loss_decode.get('use_sigmoid')
        assert model.continual.targets == dict(type='SigmoidPseudoLabels', threshold=.7, softmax=True)


def test_the_official_profile_has_a_classifier_that_the_method_lacks():
    cfg = Config.fromfile(CONFIGS / '_base_' / 'methods' / 'ssul.py')
    assert 'classifier' not in cfg.continual
    method = with_profile(Config(dict(cfg._cfg_dict.to_dict(), profile='official'))).continual
    found = extended_model(dict(type='EncoderDecoder'), 'sigmoid', dict(type=method.classifier), (2, 1))
    assert found['classifier'] == dict(type='StepHeads', steps=[2, 1])
    assert (method.frozen, method.row_lr) == (['shared', 'old', 'norms'], dict(background=1e-4))


def test_what_a_step_replays(tmp_path):
    loader = dict(tiny_config(tmp_path, tmp_path).train_dataloader, drop_last=True)
    _, steps = configs(tmp_path, train_dataloader=loader, continual=dict(memory=MEMORY))
    first, *later = (config.train_dataloader for config in steps)
    assert first.drop_last is True and 'batch_sampler' not in first and first.dataset.type == 'WithMemory' and 'path' not in first.dataset
    for step, one in enumerate(later):
        assert (one.dataset.path, one.dataset.labels) == (f'work/step_{step}/memory.json', 'seen')
        assert one.batch_sampler.to_dict() == dict(
            type='ReplayBatchSampler', drop_last=True, share=.25, iterations='all_new')
        assert 'drop_last' not in one and one.batch_size == 4 and one.sampler.type == 'DefaultSampler'


def test_what_a_step_replays_by_default(tmp_path):
    _, steps = configs(tmp_path, continual=dict(memory=dict(size=4)))
    assert steps[1].train_dataloader.dataset.labels == 'stored'
    assert steps[1].train_dataloader.batch_sampler.to_dict() == dict(
        type='ReplayBatchSampler', drop_last=False, share=.5, iterations='kept')
    assert steps[1].custom_hooks[-1].to_dict() == dict(
        type='MemoryHook', path='work/step_1/memory.json', size=4, policy='class_balanced', export=False)
    _, steps = configs(tmp_path)
    loaders = [config.train_dataloader for config in steps]
    assert not any('batch_sampler' in loader or loader.dataset.type != 'StepDataset' for loader in loaders)


def test_a_batch_sampler_beside_a_memory_is_refused(tmp_path):
    loader = dict(tiny_config(tmp_path, tmp_path).train_dataloader, batch_sampler=dict(type='BatchSampler'))
    with pytest.raises(ValueError, match='train_dataloader.batch_sampler: continual.memory has its own; remove it'):
        configs(tmp_path, train_dataloader=loader, continual=dict(memory=MEMORY))


@pytest.mark.parametrize('continual, expected', [
    ({}, []), (dict(frozen=['backbone']), ['RowRatesHook']), (dict(row_lr=dict(old=.1)), ['RowRatesHook']),
    (dict(memory=MEMORY), ['MemoryHook']), (dict(SSUL, memory=MEMORY), ['RowRatesHook', 'MemoryHook']),
    (dict(frozen=[], row_lr={}, memory=None), [])])
def test_the_hooks_of_each_step(tmp_path, continual, expected):
    _, steps = configs(tmp_path, continual=continual, custom_hooks=[dict(type='EMAHook')])
    own = ['EMAHook', 'FiniteHook', 'ContinualHook', 'HandOverHook', 'ResultHook', 'RandomStateHook']
    assert [hooks(config) for config in steps] == [own + expected] * 3
    if 'MemoryHook' in expected:
        assert [config.custom_hooks[-1].to_dict() for config in steps] == [
            dict(type='MemoryHook', path=f'work/step_{k}/memory.json', size=4, policy='herding', export=False) for k in range(3)]


def test_rows_of_several_optimizers_are_not_held(tmp_path):
    wrapper = dict(constructor='Own', a=dict(type='OptimWrapper', optimizer=dict(type='SGD', lr=.1)))
    with pytest.raises(ValueError, match='got an optim_wrapper with several optimizers, expected one'):
        configs(tmp_path, continual=dict(frozen=['shared']), optim_wrapper=wrapper, next_steps={})


def test_a_stream_of_a_repeated_data_set(tmp_path):
    cfg = tiny_config(tmp_path, tmp_path, continual=dict(memory=dict(size=4), online=dict(type='UniformReplay')),
                      next_steps=dict(train_cfg=dict(max_epochs=1), param_scheduler=[]))
    cfg.train_dataloader.dataset = dict(type='RepeatDataset', times=2, dataset=cfg.train_dataloader.dataset)
    with pytest.raises(ValueError, match='each image is trained on once, but train_dataloader.dataset repeats them'):
        step_config(cfg, build_scenario(cfg), 1)


def test_classes_in_a_file(tmp_path):
    cfg = tiny_config(tmp_path, tmp_path)
    names = list(cfg.train_dataloader.dataset.metainfo.classes)
    (tmp_path / 'classes.txt').write_text('\n'.join(names))
    expected = [split.seen for split in build_scenario(cfg)]
    cfg.train_dataloader.dataset.metainfo.classes = str(tmp_path / 'classes.txt')
    assert [split.seen for split in build_scenario(cfg)] == expected


def test_a_batch_without_room_for_memory(tmp_path):
    cfg = tiny_config(tmp_path, tmp_path, continual=dict(memory=dict(size=4)))
    cfg.train_dataloader.batch_size = 1
    with pytest.raises(ValueError, match='0.5 of a batch of 1 leaves no room'):
        step_config(cfg, build_scenario(cfg), 1)


@pytest.mark.parametrize('memory, message', [
    (dict(labels='all'), "continual.memory.labels: got 'all', expected 'stored' or 'seen' or 'unshifted'"),
    (dict(policy='best'), "continual.memory.policy.type: got 'best', which is not registered, did you mean 'cbes'.; valid are cbes, "),
    (dict(iterations='more'), "continual.memory.iterations: got 'more', expected 'kept' or 'all_new'"),
    (dict(export=True, labels='seen'), "labels: got 'seen', which copies of images don't have"),
    (dict(labels='unshifted'), "got labels='unshifted', a mistake of released code about the unknown class"),
    (dict(labels='unshifted', policy='herding'), 'continual.memory.policy: Herding would use wrong classes'),
])
def test_settings_of_memory_that_don_t_go(tmp_path, memory, message):
    with pytest.raises(ValueError, match=message):
        read_settings(tiny_config(tmp_path, tmp_path, continual=dict(memory=dict(memory, size=4))))


@pytest.mark.parametrize('continual, message', [
    (dict(memory=dict(sise=4, size=4)), "continual.memory.sise: there is no such setting, did you mean 'size'\\?; valid are size, policy, labels, "),
    (dict(unknown=dict(of='saliency', maps='x')), 'continual.unknown.maps: there is no such setting; valid are of, folder'),
    (dict(unknown=dict(of='background', scores='tanh')),
     "continual.unknown.scores: got 'tanh', expected 'sigmoid' or 'softmax' or 'none'"),
    (dict(memory=4), 'continual.memory: got 4, expected a dict'),
    (dict(unknown='saliency'), "continual.unknown: got 'saliency', expected a dict"),
])
def test_bad_settings_of_memory_and_unknown(tmp_path, continual, message):
    with pytest.raises(ValueError, match=message):
        read_settings(tiny_config(tmp_path, tmp_path, continual=continual))


@pytest.mark.parametrize('method, has_teacher', [
    (dict(losses=dict(ewc=dict(type='ElasticWeightConsolidation'))), False),
    (dict(targets=dict(type='IgnoreBackground')), False),
    (dict(losses=dict(ewc=dict(type='ElasticWeightConsolidation'), kd=dict(type='KnowledgeDistillation'))), True),
])
def test_only_a_method_that_looks_at_the_teacher_has_one(tmp_path, method, has_teacher):
    cfg = tiny_config(tmp_path, tmp_path, continual=method)
    config = step_config(cfg, build_scenario(cfg), 1)
    assert (config.model.continual.teacher is not None) is has_teacher


def test_a_later_step_may_have_data_that_knows_its_own_classes(tmp_path):
    """The model keeps the classes of the run; 'listed' asks for those of the run as well."""
    own = dict(data_root='new', metainfo=dict(classes=['white'], palette=[[9, 9, 9]]))
    cfg = tiny_config(tmp_path, tmp_path, protocol='mib', next_steps=dict(train_dataloader=dict(dataset=own)))
    plain = tiny_config(tmp_path, tmp_path, protocol='mib')
    for step in range(3):
        scenario = build_scenario(cfg)
        found, expected = (step_config(one, scenario, step) for one in (cfg, plain))
        assert found.model == expected.model
        assert found.test_dataloader == expected.test_dataloader and found.test_dataloader.dataset.view.background
        data = found.train_dataloader.dataset.dataset
        assert (data.data_root, len(data.metainfo.classes)) == ((str(tmp_path), 5) if step == 0 else ('new', 1))


@pytest.mark.parametrize('compile', [True, dict(backend='eager')])
def test_a_method_that_watches_the_model_is_not_compiled(tmp_path, compile):
    with pytest.raises(ValueError, match='compile: .* because targets, losses.local_pod of continual hook .* Remove'):
        configs(tmp_path, compile=compile)
    assert [config.compile for config in configs(tmp_path, compile=compile, continual={})[1]] == [compile] * 3
    assert len(configs(tmp_path, compile=False)[1]) == 3


@pytest.mark.parametrize('given, imports', [
    (None, ['mmcss']),
    (dict(imports='theirs'), ['mmcss', 'theirs']),
    (dict(imports=['theirs', 'mmcss'], allow_failed_imports=False), ['theirs', 'mmcss']),
])
def test_a_step_s_config_imports_mmcss(tmp_path, given, imports):
    """Configs that tools/train.py runs need not."""
    _, steps = configs(tmp_path, custom_imports=given)
    assert steps[0].custom_imports.to_dict() == dict(imports=imports, allow_failed_imports=False)

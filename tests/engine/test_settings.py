"""What of the user's config is mmcss's own: profiles, protocols, ablations."""
import copy
import re
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config
from mmseg.registry import MODELS

from mmcss.engine import build_scenario, compose, step_config
from mmcss.engine.profiles import with_profile
from mmcss.engine.settings import _merged, read_settings
from mmcss.models import CosineClassifier
from mmcss.scenario import PROTOCOLS, Protocol
from tests.experiments import entry, experiment, model_for
from tests.tiny import CLASSES, tiny_config

ROOT = Path(__file__).resolve().parents[2]
METHODS = sorted(path.stem for path in (ROOT / 'configs' / '_base_' / 'methods').glob('*.py'))


def method_config(tmp_path, name, **changes):
    cfg = tiny_config(tmp_path / 'data', tmp_path / 'work', continual={})
    cfg.merge_from_dict(Config.fromfile(ROOT / 'configs' / '_base_' / 'methods' / f'{name}.py')._cfg_dict.to_dict())
    if 'online' in cfg.continual:
        cfg.next_steps = dict(train_cfg=dict(max_epochs=1))
    cfg.merge_from_dict(changes)
    return cfg


def steps_of(cfg):
    scenario = build_scenario(cfg)
    return [step_config(cfg, scenario, step) for step in range(len(scenario))]


def test_the_official_profile_of_plop(tmp_path):
    paper = with_profile(method_config(tmp_path, 'plop'))
    official = with_profile(method_config(tmp_path, 'plop', profile='official'))
    assert paper.continual.targets == dict(type='EntropyPseudoLabels') and 'average' not in paper.continual
    assert official.continual.targets == dict(
        type='EntropyPseudoLabels', measure='code', estimator='histogram', over_processes=False,
        nu_without_background=0.)
    assert official.continual.losses.local_pod == dict(
        type='LocalPOD', loss_weight=.01, logits_weight=.0005, remainder='drop', fold='sum')
    assert (official.continual.average, official.protocol) == ('all', 'plop')
    assert not {'profile', 'official'} & (set(paper) | set(official))
    assert with_profile(official) is official


def test_the_official_profile_of_sats_m(tmp_path):
    official = with_profile(method_config(tmp_path, 'sats_m', profile='official')).continual
    assert official.targets == dict(
        type='EntropyPseudoLabels', adaptive_factor=False, measure='code', estimator='histogram', over_processes=False,
        nu_without_background=0., true_background=True, overwrite_old=True, infinite=.005)
    assert official.losses.attention.layout == 'reshape'
    assert (official.memory.size, official.memory.policy) == (300, 'first')


def test_the_config_given_stays_as_it_is(tmp_path):
    cfg = method_config(tmp_path, 'mib', profile='official')
    before = cfg.pretty_text
    with_profile(cfg)
    assert cfg.pretty_text == before


@pytest.mark.parametrize('method', METHODS)
@pytest.mark.parametrize('profile', ['paper', 'official'])
def test_both_profiles_of_each_method_build(tmp_path, method, profile):
    cfg = method_config(tmp_path, method, profile=profile)
    if method.endswith('_domain'):
        cfg.scenario = dict(type='DomainIncremental', domains=['a', 'b', 'c'], test_share=.2)
    if profile == 'official' and 'official' not in cfg:  # online EM: no code was released
        assert 'online' in cfg.continual
        with pytest.raises(ValueError, match='no official settings'):
            with_profile(cfg)
        return
    steps = steps_of(cfg)
    valid = profile == 'paper' or method.startswith('ssul')  # SSUL's code averages over valid pixels, too
    for config in steps:
        MODELS.build(config.model)
        # That code runs on one model that shares out its batch (DataParallel): means are those of all devices, too.
        assert config.model.continual.get('over_processes', True) is valid
        loss = config.model.decode_head.loss_decode
        if loss.type == 'CrossEntropyLoss':
            assert loss.avg_non_ignore is valid
        else:
            assert loss.average == ('valid' if valid else 'all')
        assert config.train_dataloader.dataset.view.get('ignore_as_background', False) is (
            method.startswith(('mib', 'sdr')) and method != 'mib_domain' and profile == 'official')
    first = steps[0].model.decode_head.loss_decode
    binary = method.startswith(('lwf_mc', 'icarl', 'ssul'))
    assert first.type == ('BinaryCrossEntropyLoss' if binary else 'CrossEntropyLoss')


def test_official_settings_leave_alone_what_was_taken_out_or_exchanged(tmp_path):
    cfg = method_config(tmp_path, 'plop', profile='official')
    cfg.merge_from_dict(dict(continual=dict(targets=dict(_delete_=True, type='IgnoreBackground'),
                                            losses=dict(local_pod=None))))
    cfg = with_profile(cfg)
    assert cfg.continual.targets == dict(type='IgnoreBackground')
    assert cfg.continual.losses == dict(local_pod=None)
    assert cfg.continual.average == 'all'


def test_official_settings_bring_back_no_part(tmp_path):
    cfg = method_config(tmp_path, 'plop', profile='official')
    cfg.continual = dict(targets=dict(type='EntropyPseudoLabels'))
    assert 'local_pod' not in with_profile(cfg).continual.get('losses', {})


def test_a_setting_of_one_s_own_goes_into_official(tmp_path):
    cfg = method_config(tmp_path, 'mib', profile='official',
                        official=dict(protocol='plop', continual=dict(ignore_as_background=False)))
    cfg = with_profile(cfg)
    assert (cfg.protocol, cfg.continual.ignore_as_background, cfg.continual.average) == ('plop', False, 'all')
    cfg = method_config(tmp_path, 'mib', profile='official', protocol='full')
    cfg.official.protocol = dict(images='all')
    assert with_profile(cfg).protocol == dict(images='all')


@pytest.mark.parametrize('profile, message', [('offical', "profile: got 'offical', expected 'paper' or 'official'"),
                                              ('official', 'has no official settings')])
def test_profiles_that_are_not_there(tmp_path, profile, message):
    with pytest.raises(ValueError, match=message):
        read_settings(tiny_config(tmp_path, tmp_path, profile=profile))


@pytest.mark.parametrize('name', PROTOCOLS)
def test_presets(tmp_path, name):
    cfg = tiny_config(tmp_path, tmp_path, protocol=name)
    expected = dict(PROTOCOLS[name])
    if name == 'mib':
        expected['background'] = True  # the data set lists it
    assert read_settings(cfg).protocol == Protocol(**expected)
    assert read_settings(cfg).protocol_name == name
    assert steps_of(cfg)[0].test_dataloader.dataset.view == dict(role='test', **expected)


def test_mib_does_not_score_a_background_that_is_not_listed(tmp_path):
    cfg = tiny_config(tmp_path, tmp_path, protocol='mib')
    leaf = cfg.train_dataloader.dataset
    leaf.metainfo.classes, leaf.reduce_zero_label = CLASSES[1:], True
    assert read_settings(cfg).protocol.background is False
    assert read_settings(cfg).protocol_name == 'mib'


@pytest.mark.parametrize('own', [dict(background=False), dict(future='ignore', absent='zero')])
def test_own_settings_have_no_name(tmp_path, own):
    assert read_settings(tiny_config(tmp_path, tmp_path, protocol=own)).protocol_name == 'custom'


@pytest.mark.parametrize('given', ['plopp', dict(futur='ignore'), dict(background='maybe'), 3])
def test_unknown_protocols(tmp_path, given):
    with pytest.raises(ValueError, match='protocol'):
        read_settings(tiny_config(tmp_path, tmp_path, protocol=given))


def ablations():
    """Table, row and line of each ablation in the documentation."""
    text = ''.join(page.read_text() for page in sorted((ROOT / 'docs' / 'methods').glob('*.md')))
    return re.findall(r'^\| (6a|6b|7|SSUL 3|SSUL 4|REMINDER 5|SATS \w+|EM 4|EWC|PI|RW|SDR) \| (.+?) \| `(.+)` \|$', text, re.MULTILINE)


def test_all_ablations_are_documented():
    assert [table for table, _, _ in ablations()] == [
        'EWC', 'PI', 'RW', *['EM 4'] * 5, *['6a'] * 4, *['6b'] * 5, *['7'] * 5, *['REMINDER 5'] * 2,
        *['SATS components'] * 3, *['SATS pooling'] * 3, *['SATS stages'] * 2, *['SDR'] * 5, *['SSUL 3'] * 4, *['SSUL 4'] * 3]


def holds(config, line):
    """Whether all that a line says stands in a config."""
    if not isinstance(line, dict):
        return config == line
    return all(holds(config.get(key), value) for key, value in line.items() if key != '_delete_')


# Of online EM no code was released.
@pytest.mark.parametrize('table, row, line, profile', [
    (*ablation, profile) for ablation in ablations() for profile in ('paper', 'official')
    if profile == 'paper' or ablation[0] != 'EM 4'])
def test_an_ablation_is_one_line(tmp_path, table, row, line, profile):
    """What it says stands in a config of its own, whose steps build; the official profile takes nothing back."""
    path = tmp_path / 'ablation.py'
    method = 'sats' if table.startswith('SATS') else {'SSUL 3': 'ssul', 'SSUL 4': 'ssul_m', 'REMINDER 5': 'reminder', 'EM 4': 'online_em',
              'EWC': 'ewc', 'PI': 'pi', 'RW': 'rw', 'SDR': 'sdr'}.get(table, 'plop')
    path.write_text(f"_base_ = '{entry(method)}'\n{line}\nprofile = '{profile}'\n")
    small = 'shapes8_5-1'
    cfg, plain = compose(path, small, model_for(method, small)), experiment(method, small, profile)
    assert (with_profile(cfg).continual == with_profile(plain).continual) is (line == 'continual = dict()')
    assert holds(with_profile(cfg), Config.fromstring(line, '.py')._cfg_dict.to_dict())
    for config in steps_of(cfg)[:2]:
        MODELS.build(config.model)


def test_official_factors_depend_on_the_data_set():
    factors = {}
    for name in ('voc_15-1', 'ade_100-50'):
        for profile in ('paper', 'official'):
            pod = with_profile(experiment('plop', name, profile)).continual.losses.local_pod
            factors[name, profile] = (pod.loss_weight, pod.logits_weight)
    assert factors == {('voc_15-1', 'paper'): (.01, .0005), ('voc_15-1', 'official'): (.01, .0005),
                       ('ade_100-50', 'paper'): (.01, .0005), ('ade_100-50', 'official'): (.001, .00001)}


def test_plop_s_epochs_of_voc_10_1():
    cfg = experiment('plop', 'voc_10-1', 'official')
    assert [steps_of(cfg)[step].train_cfg.max_epochs for step in (0, 1, 10)] == [30, 10, 10]


def test_mib_s_weight_of_voc_15_1():
    cfg = with_profile(Config.fromfile(ROOT / 'configs' / 'mib' / 'deeplabv3_r101_inplace_abn_voc_15-1_mib_crops_official.py'))
    assert cfg.continual.losses.unkd.loss_weight == 100
    assert cfg.model.decode_head.type == 'SharedNormASPPHead'


def test_a_config_that_is_read_stays_as_it_was(tmp_path):
    """Also where it exchanges a section for some steps: reading it again gives the same."""
    loop = dict(_delete_=True, type='IterBasedTrainLoop', max_iters=2)
    cfg = tiny_config(tmp_path, tmp_path, next_steps=dict(train_cfg=loop))
    before = copy.deepcopy(cfg._cfg_dict.to_dict())
    for _ in range(2):
        assert read_settings(cfg).config(1).train_cfg == dict(type='IterBasedTrainLoop', max_iters=2)
        build_scenario(cfg)
        assert step_config(cfg, build_scenario(cfg), 1).train_cfg == dict(type='IterBasedTrainLoop', max_iters=2)
    assert cfg._cfg_dict.to_dict() == before
    assert read_settings(read_settings(cfg)) is not None and read_settings(cfg).config(0).train_cfg.max_epochs == 3


def test_settings_that_are_read_are_given_back(tmp_path):
    settings = read_settings(tiny_config(tmp_path, tmp_path))
    assert read_settings(settings) is settings


def test_dotted_keys_and_paths_and_numbers_of_numpy(tmp_path):
    cfg = tiny_config(tmp_path, tmp_path, next_steps={'optim_wrapper.optimizer.lr': .5}, official=None,
                      continual=dict(memory=dict(size=np.int64(3))), run=dict(first_step_from=tmp_path))
    cfg._cfg_dict['work_dir'] = tmp_path
    settings = read_settings(cfg)
    assert [settings.config(step).optim_wrapper.optimizer.lr for step in (0, 1)] == [.05, .5]
    assert settings.method(1).memory.size == 3 and settings.work_dir == settings.run.first_step_from == tmp_path


def test_a_classifier_may_be_a_class(tmp_path):
    cfg = tiny_config(tmp_path, tmp_path, continual=dict(classifier=CosineClassifier))
    assert step_config(cfg, build_scenario(cfg), 1).model.classifier.type in ('CosineClassifier', CosineClassifier)


@pytest.mark.parametrize('change, message', [
    (dict(next_steps=dict(continual=dict(unknown=dict(of='background')))), 'continual.unknown: got None at step 0 and Unknown'),
    (dict(first_step=dict(continual=dict(classifier='CosineClassifier'))), 'continual.classifier: got {.*} at step 0 and None'),
    (dict(protocol=dict(background='maybe')), "protocol.background: got 'maybe', expected True or False, or 'listed'"),
    (dict(protocol='plopp'), "protocol: got 'plopp', expected one of default, .*, or a dict of future, background, images"),
    (dict(continual=dict(memory=4)), 'continual.memory: got 4, expected a dict of size, policy, labels'),
    (dict(continual=dict(row_lr=dict(odl=.1))), "continual.row_lr.odl.*: got 'odl', expected 'background' or 'old'"),
    (dict(continual=dict(losses={3: dict(loss_weight=1)})), r'continual.losses\[3\]: got 3, expected a string'),
])
def test_what_is_told(tmp_path, change, message):
    with pytest.raises(ValueError, match=message):
        read_settings(tiny_config(tmp_path, tmp_path, **change))


def test_changes_of_later_steps_that_clash(tmp_path):
    cfg = tiny_config(tmp_path, tmp_path, continual=dict(losses=dict(pod=[])))
    cfg.next_steps.continual = dict(losses=dict(pod=dict(loss_weight=5.)))
    with pytest.raises(ValueError, match=r"next_steps.continual.losses.pod: got \{'loss_weight': 5.0\}, which can be m"):
        read_settings(cfg)


def test_none_removes_a_setting_for_later_steps(tmp_path):
    """As docs/configs.md says; MMEngine drops ``_delete_`` where an inherited file has the same dict."""
    top = dict(optimizer=dict(type='SGD', lr=0.01), paramwise_cfg=dict(norm_decay_mult=0.0))
    (tmp_path / 'base.py').write_text(f'optim_wrapper = {top!r}\nnext_steps = dict(optim_wrapper=dict(optimizer=dict(lr=0.001)))\n')
    for change, kept in (('paramwise_cfg=None', None), ('_delete_=True, optimizer=dict(lr=1.0)', dict(norm_decay_mult=0.0))):
        (tmp_path / 'child.py').write_text(f"_base_ = './base.py'\nnext_steps = dict(optim_wrapper=dict({change}))\n")
        assert _merged(Config.fromfile(tmp_path / 'child.py'), 'next_steps').optim_wrapper.paramwise_cfg == kept

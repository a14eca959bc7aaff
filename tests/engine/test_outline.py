"""Keys that are slips, or stand in another place than they should."""
import pytest

from mmcss.engine.outline import check_outline
from mmcss.engine.settings import read_settings
from tests.tiny import PLOP, tiny_config


@pytest.mark.parametrize('changes, words', [
    (dict(continuals={}), "continuals: there is no such setting, did you mean 'continual'\\?"),
    (dict(rnu={}), "rnu: there is no such setting, did you mean 'run'\\?"),
    (dict(un=dict(steps='0')), "un: .*did you mean 'run'\\?"),
    (dict(proifle='official'), "proifle: .*did you mean 'profile'\\?"),
    (dict(param_schedulers=[]), "param_schedulers: .*did you mean 'param_scheduler'\\?"),
    (dict(default_hooks=dict(chekcpoint=dict(type='CheckpointHook'))), "default_hooks.chekcpoint: .*did you mean 'checkpoint'\\?"),
    (dict(losses={}), 'losses: there is no such setting, did you mean continual.losses\\? A variable of your own needs'),
    (dict(new_rows='unknown'), 'new_rows: .*did you mean continual.new_rows'),
    (dict(steps='0-1'), 'steps: .*did you mean run.steps'),
    (dict(future='ignore'), 'future: .*did you mean protocol.future'),
    (dict(regime='disjoint'), 'regime: .*did you mean scenario.regime'),
    (dict(env_cfg=dict(continual=PLOP)), 'env_cfg.continual: there is no such setting; continual belongs to the top'),
    (dict(model=dict(official={})), 'model.official: .*belongs to the top'),
])
def test_slips(tiny_data, tmp_path, changes, words):
    with pytest.raises(ValueError, match=words):
        check_outline(tiny_config(tiny_data, tmp_path, **dict(dict(continual=dict(targets=None)), **changes)))


@pytest.mark.parametrize('variables', [
    dict(runs=3, resumes='never', background='sky', seed=0, classes=['a'], optimizer=dict(type='SGD'), images='all_of_them'),
    dict(losses=PLOP['losses'], targets=PLOP['targets']),  # used by continual
    dict(base=2, increment=1),  # used by scenario
])
def test_variables_of_one_s_own(tiny_data, tmp_path, variables):
    assert read_settings(tiny_config(tiny_data, tmp_path, **variables)).method(1).losses == PLOP['losses']

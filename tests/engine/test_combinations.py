from pathlib import Path

import pytest

from mmcss.engine.combinations import Combinations
from tests.experiments import METHODS, PARTS, SCENARIOS

ONLINE = {'a_gem', 'coriseg', 'er', 'icarl', 'lwf_mc_online', 'mib_online', 'mir', 'online_em'}


def table(tmp_path: Path, rows: str) -> Combinations:
    (tmp_path / 'combinations.py').write_text(f'rows = [{rows}]\n')
    return Combinations(tmp_path)


def test_later_rows_win_and_settings_add_up(tmp_path):
    choice = table(tmp_path, '''
        dict(runtime='loud', schedule='long'),
        dict(scenarios=['sea_*'], methods=['a', 'b*'], schedule='short', settings=dict(x=1)),
        dict(models=['small'], variant='tiny', settings=dict(y=2)),
        dict(scenarios=['lake_*'], excluded='it is frozen')''').choose
    taken = choice('sea_1', 'b2', 'small')
    assert (taken.schedule, taken.runtime, taken.method, taken.excluded) == ('short', 'loud', 'b2_tiny', None)
    assert taken.settings == (dict(x=1), dict(y=2))
    taken = choice('lake_1', 'a', 'large')
    assert (taken.schedule, taken.method, taken.settings, taken.excluded) == ('long', 'a', (), 'it is frozen')


def test_what_no_row_knows(tmp_path):
    taken = table(tmp_path, "dict(scenarios=['sea_*'], schedule='short')").choose('harbour', 'plop', 'small')
    assert (taken.schedule, taken.runtime, taken.method, taken.settings) == (None, None, 'plop', ())


@pytest.mark.parametrize('rows, message', [
    ("dict(scenario=['sea_*'])", r"combinations.py: rows\[0\].scenario: there is no such setting, did you mean 'scenarios'"),
    ('dict(), dict(schedule=3)', r'combinations.py: rows\[1\].schedule: got 3, expected a string'),
    ("dict(methods='plop')", r"combinations.py: rows\[0\].methods: got 'plop', expected a list")])
def test_a_wrong_row(tmp_path, rows, message):
    with pytest.raises(ValueError, match=message):
        table(tmp_path, rows)


def test_a_folder_without_a_table(tmp_path):
    with pytest.raises(ValueError, match=r'combinations.py is missing'):
        Combinations(tmp_path)


def test_methods_of_variants():
    names = ('plop', 'plop_domain', 'online_em_ade20k', 'ssul_m_ade20k', 'plop_m', 'mine')
    assert [Combinations(PARTS).method_of(name) for name in names] == ['plop', 'plop', 'online_em', 'ssul_m', 'plop_m', 'mine']


def test_the_table_names_files_and_methods_that_are_there():
    table = Combinations(PARTS)
    files = {folder: {path.stem for path in (PARTS / folder).glob('*.py')} for folder in ('schedules', 'methods', '.')}
    for scenario in SCENARIOS:
        for method in set(METHODS) - {'joint'}:
            taken = table.choose(scenario, method, 'segformer_mit-b2')
            assert taken.schedule in files['schedules'] and taken.runtime in files['.'] and taken.method in files['methods']
    named = {name for row in table.rows for name in row.methods if '*' not in name}
    assert named <= set(METHODS)


def test_what_is_excluded():
    """Methods about new classes and streams where steps bring domains, and SATS without a transformer."""
    table = Combinations(PARTS)
    for model in ('deeplabv3_r101', 'segformer_mit-b2'):
        excluded = {(scenario, method) for scenario in SCENARIOS for method in METHODS
                    if table.choose(scenario, method, model).excluded}
        about_classes = {'lwf_mc', 'mib_m', 'plop_m', 'reminder', 'reminder_m', 'sats', 'sats_m', 'sdr', 'ssul', 'ssul_m'}
        domains = {name for name in SCENARIOS if 'domains' in name}
        expected = {(scenario, method) for scenario in domains for method in about_classes | ONLINE}
        if model == 'deeplabv3_r101':
            expected |= {(scenario, method) for scenario in SCENARIOS for method in ('sats', 'sats_m')}
        assert excluded == expected

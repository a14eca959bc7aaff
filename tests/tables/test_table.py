import pytest

from mmcss.tables import Entry, entries_of, read_table
from tests.experiments import CONFIGS


def test_rows_have_defaults_and_vary(write_table):
    table = write_table()
    assert (table.name, table.seeds, table.scenarios['shapes8_5-1']) == ('small', [0, 1], {})
    assert [(name, row.title, row.method) for name, row in table.rows.items()] == [
        ('finetune', 'fine-tuning', 'finetune'), ('plop', 'plop', 'plop'), ('rates@lr=0.1', 'PLOP, lr=0.1', 'plop'),
        ('rates@lr=0.2', 'PLOP, lr=0.2', 'plop')]
    assert table.rows['rates@lr=0.2'].options == {'next_steps.optim_wrapper.optimizer.lr': 0.2}


def test_entries(write_table):
    table = write_table()
    assert list(map(str, entries_of(table))) == [
        'shapes8_5-1/finetune_seed0', 'shapes8_5-1/finetune_seed1', 'shapes8_5-1/plop_seed0', 'shapes8_5-1/plop_seed1',
        'shapes8_5-1/rates@lr=0.1_seed3', 'shapes8_5-1/rates@lr=0.2_seed3', 'shapes8_reversed/finetune_seed0',
        'shapes8_reversed/finetune_seed1', 'shapes8_reversed/rates@lr=0.1_seed3', 'shapes8_reversed/rates@lr=0.2_seed3']
    assert entries_of(table, rows=['plop'], seeds=[1]) == [Entry('plop', 'shapes8_5-1', 1)]
    assert [entry.row for entry in entries_of(table, rows=['rates'], scenarios=['shapes8_reversed'])] == [
        'rates@lr=0.1', 'rates@lr=0.2']


@pytest.mark.parametrize('chosen, message', [
    (dict(rows=['plopp']), "table small: there is no row 'plopp', did you mean 'plop'?; valid are "),
    (dict(scenarios=['shapes8']), "table small: there is no scenario 'shapes8'"),
])
def test_names_that_are_not_there(write_table, chosen, message):
    with pytest.raises(ValueError) as error:
        entries_of(write_table(), **chosen)
    assert str(error.value).startswith(message)


@pytest.mark.parametrize('text, message', [
    ('- a', 'expected a mapping with names for keys'),
    ('rows: {a: {titel: x}}\nscenarios: {b: }\nconfig: c', "rows.a.titel: there is no such setting, did you mean 'title'?"),
    ('rows: {a: }\nscenarios: {b: }', 'which lacks config'),
    ('rows: {a: {seeds: [-1]}}\nscenarios: {b: }\nconfig: c', 'rows.a.seeds'),
    ('rows: {a: {scenarios: [x]}}\nscenarios: {b: }\nconfig: c', "rows.a.scenarios: got 'x', valid are b."),
    ('rows: {a: }\nscenarios: {b: }\nconfig: c\npages: {p: {file: f, scenario: x}}', "pages.p.scenario: got 'x', valid are b."),
    ('rows: {a: }\nscenarios: {b: }\nconfig: c\npages: {p: {file: f, scenario: b, rows: [c]}}', "there is no row 'c'"),
    ('rows: {a', 'small.yaml is not YAML: '),
    ('rows: [a]', "rows: got ['a'], expected a mapping"),
])
def test_wrong_tables(tmp_path, text, message):
    (tmp_path / 'small.yaml').write_text(text)
    with pytest.raises(ValueError) as error:
        read_table(tmp_path / 'small.yaml')
    assert message in str(error.value)


@pytest.mark.parametrize('file', sorted((CONFIGS / 'tables').glob('*.yaml')), ids=lambda file: file.stem)
def test_the_tables_of_the_project_name_configs_that_are_there(file):
    table = read_table(file)
    assert entries_of(table)
    for row in table.rows.values():
        assert (CONFIGS.parent / (row.config or table.config).replace('*', row.method)).is_file()
    assert all((CONFIGS / '_base_' / 'scenarios' / f'{options.get("of", name)}.py').is_file()
               for name, options in table.scenarios.items())

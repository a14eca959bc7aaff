from mmcss.evaluation import class_table, compare_table, comparison_notes, matrix_table, steps_table, summarise
from tests.evaluation.test_results import STEPS

REPORT = dict(
    classes=['background', 'a', 'b'], IoU=[90.126, 50., None], Acc=[95., None, 12.5], scored=[False, True, True],
    mIoU_old=50., mIoU=float('nan'))


def cells(table):
    """Rows of a printed table as lists of texts, the header first."""
    return [[cell.strip() for cell in line.strip('|').split('|')] for line in table.splitlines()
            if line.startswith('|') and not set(line) <= set('|-: +')]


def test_class_table():
    assert cells(class_table(REPORT)) == [
        ['class', 'IoU', 'Acc'],
        ['background', 'not scored', ''],
        ['a', '50.00', '-'],
        ['b', '-', '12.50'],
        ['mIoU_old', '50.00', ''],
        ['mIoU', '-', ''],
    ]
    scored = dict(REPORT, scored=[True] * 3)
    assert cells(class_table(scored))[1] == ['background', '90.13', '95.00']


def test_steps_table():
    table = [
        ['step', 'test images', 'old', 'new', 'all'],
        ['0', '7', '75.00', '-', '75.00'],
        ['1', '7', '66.00', '-', '66.00'],
        ['2', '7', '69.25', '25.00', '47.12'],
    ]
    results = summarise(STEPS)
    assert cells(steps_table(results)) == table
    markdown = steps_table(results, markdown=True)
    assert cells(markdown) == table
    assert '+' not in markdown and '+' in steps_table(results)


def test_matrix_table():
    assert cells(matrix_table(summarise(STEPS))) == [
        ['class', 'step 0', 'step 1', 'step 2', 'forgetting'],
        ['background', '90.00', '92.00', '88.50', '3.50'],
        ['a', '60.00', '40.00', '50.00', '10.00'],
        ['b', '-', '-', '30.00', '-'],
        ['c', '-', '-', '20.00', '-'],
    ]


def test_compare_table():
    runs = dict(mib=summarise(STEPS), start=summarise(STEPS[:1]))
    assert cells(compare_table(runs)) == [
        ['method', 'old', 'new', 'all', 'avg', 'forgetting'],
        ['mib', '69.25', '25.00', '47.12', '62.71', '6.75'],
        ['start', '75.00', '-', '75.00', '75.00', '-'],
    ]


def test_what_a_comparison_has_to_say():
    one = dict(steps=[{}] * 2, scenario=[['a', 'b'], ['c']], protocol=dict(future='background'), protocol_name='default')
    joint = dict(one, steps=[{}], scenario=[['c', 'a', 'b']])
    assert comparison_notes(dict(one=one, same=dict(one), joint=joint)) == []
    assert comparison_notes(dict(one=dict(one, steps=[{}]), joint=joint)) == ['one has finished steps 0 to 0 of 0 to 1.']
    other = dict(one, protocol=dict(future='ignored'), protocol_name='mib')
    assert comparison_notes(dict(one=one, other=other)) == [
        'they were tested under different protocols: one default, other mib.']
    for steps in ([['a'], ['b', 'c']], [['a', 'b'], ['d']]):
        assert comparison_notes(dict(one=one, other=dict(one, scenario=steps))) == [
            'they are of different scenarios (classes or domains of each step): '
            f'one [2, 1], other {[len(step) for step in steps]}.']
    assert comparison_notes(dict(one=one, other=dict(one, scenario=[['a', 'c'], ['b']]))) == [
        'they learn the same classes or domains in other orders.']
    assert len(comparison_notes(dict(one=one, joint=dict(joint, scenario=[['a', 'b']])))) == 1

"""Where a step stands and what becomes of its files, for every combination of facts: held against two tables.

The tables were written from what a user is promised (docs/reliability.md), not from the code. Of each, exactly one row
says what a combination comes to, so that the order of the rows is no matter; ``*`` is anything, ``a/b`` is a or b.
"""
import itertools
import pickle
from pathlib import Path

import pytest

from mmcss.engine.step_state import Facts, Fate, Source, State, decide, fate

VALUES = dict(
    option=['none', 'resume', 'overwrite'],
    selected=['yes', 'no'],  # by --step
    source=['none', 'missing', 'itself', 'same', 'other'],  # of --first-step-from
    holds=['nothing', 'files', 'stale', 'trained'],  # the last two: a hand-over
    run=['same', 'other'],  # by step.json
    copy=['whole', 'half'],  # unfinished, by step.json
    result=['yes', 'no'],
    checkpoint=['yes', 'no'])

STATES = '''
option     selected  source        holds                run    copy   result  checkpoint  state
*          *      missing          *                    *      *      *       *           no-source
*          *      itself           *                    *      *      *       *           own-source
none       yes    none             *                    *      *      *       *           START
none       yes    same/other       *                    *      *      *       *           TAKE
overwrite  yes    none             *                    *      *      *       *           START
overwrite  yes    same/other       *                    *      *      *       *           TAKE

resume     *      none/same/other  *                    other  *      *       *           other-run
resume     *      other            trained              same   *      *       *           other-source
resume     *      none/same        trained              same   half   *       *           FINISH
resume     *      none/same        trained              same   whole  no      *           EVALUATE
resume     *      none/same        trained              same   whole  yes     *           FINISHED
resume     *      none             nothing/files        same   *      *       yes         RESUME
resume     *      none             nothing/files        same   *      *       no          START
resume     *      none             stale                same   *      *       *           START
resume     *      same/other       nothing/files/stale  same   *      *       *           TAKE

none/overwrite  no  none/same   trained              same   half   *    *  FINISH
none/overwrite  no  none/same   trained              same   whole  no   *  EVALUATE
none/overwrite  no  none/same   trained              same   whole  yes  *  FINISHED
none/overwrite  no  none        trained              other  *      *    *  START
none/overwrite  no  none        nothing/files/stale  *      *      *    *  START
none/overwrite  no  same        trained              other  *      *    *  TAKE
none/overwrite  no  same        nothing/files/stale  *      *      *    *  TAKE
none/overwrite  no  other       *                    *      *      *    *  TAKE
'''

FATES = '''
option     state                           holds                fate
*          RESUME/FINISH/EVALUATE/FINISHED *                    KEPT
*          START/TAKE                      nothing              DELETED
none       START/TAKE                      files                DELETED
resume     START/TAKE                      files                DELETED
overwrite  START/TAKE                      files                MOVED
none       START/TAKE                      stale/trained        REFUSED
resume     START/TAKE                      stale/trained        MOVED
overwrite  START/TAKE                      stale/trained        MOVED
'''

ERRORS = {
    'no-source': (FileNotFoundError, '--first-step-from: old/step_0/step_0.pth does not exist.'),
    'own-source': (ValueError, '--first-step-from: old/step_0/step_0.pth belongs to this run itself; leave the option out and '
                               'start with --step 1 or --resume.'),
    'other-run': (ValueError, "new/step_0 was trained with another scenario or method: ['method'] of step.json differ. "
                              'Give another --work-dir, or --overwrite instead of --resume, which moves the old steps aside '
                              'and trains anew.'),
    'other-source': (ValueError, 'new/step_0/step_0.pth differs from the step 0 of old/step_0/step_0.pth; leave '
                                 '--first-step-from out to go on with it, or use --overwrite instead of --resume.')}


def parsed(table):
    """The rows of a table, each as what has to be the case and the outcome."""
    names, *rows = [line.split() for line in table.splitlines() if line]
    return [(dict(zip(names[:-1], (value.split('/') for value in row))), row[-1]) for row in rows]


def outcome(rows, case):
    """What the one row that covers a case says."""
    found = [result for needs, result in rows
             if all(allowed == ['*'] or case[name] in allowed for name, allowed in needs.items())]
    assert len(found) == 1, f'{len(found)} rows for {case}'
    return found[0]


# Each combination, and what the first table says of it: a state or an error.
CASES = [(case, outcome(parsed(STATES), case)) for case in
         (dict(zip(VALUES, values)) for values in itertools.product(*VALUES.values()))]


def facts(case, read=lambda name, value: value):
    """A combination as facts; ``read`` is called with what is read_files up and its value."""
    source = Source(Path('old/step_0/step_0.pth'), case['source'] != 'missing', case['source'] == 'itself',
                    lambda: read('source', case['source'] == 'same'))
    return Facts(
        resume=case['option'] == 'resume', overwrite=case['option'] == 'overwrite', selected=case['selected'] == 'yes',
        hand_over=Path('new/step_0/step_0.pth'), source=None if case['source'] == 'none' else source,
        has_files=lambda: case['holds'] != 'nothing',
        handed_over=lambda: case['holds'] in ('stale', 'trained'),
        trained=lambda: read('hand-over', case['holds'] == 'trained'),
        differences=lambda: read('split', ['method'] if case['run'] == 'other' else []),
        unfinished=lambda: read('split', case['copy'] == 'half'),
        tested=lambda: read('result', case['result'] == 'yes'),
        checkpoint=lambda: read('checkpoint', case['checkpoint'] == 'yes'))


def test_where_a_step_stands():
    for case, expected in CASES:
        if expected in ERRORS:
            kind, message = ERRORS[expected]
            with pytest.raises(kind) as error:
                decide(facts(case))
            assert str(error.value) == message, case
        else:
            assert decide(facts(case)) is State[expected], case
    assert {expected for _, expected in CASES} == {*State.__members__, *ERRORS}


def test_what_becomes_of_its_files():
    rows, reached = parsed(FATES), set()
    for case, state in CASES:
        if state in ERRORS:
            with pytest.raises(ERRORS[state][0]):
                fate(facts(case))
        else:
            reached.add(outcome(rows, dict(case, state=state)))
            assert fate(facts(case)) is Fate[outcome(rows, dict(case, state=state))], case
    assert reached == set(Fate.__members__)


def test_nothing_finished_is_deleted_or_moved_unasked():
    for case, state in CASES:
        if state not in ERRORS and case['holds'] in ('stale', 'trained'):
            allowed = dict(none={Fate.KEPT, Fate.REFUSED}).get(case['option'], {Fate.KEPT, Fate.MOVED})
            assert fate(facts(case)) in allowed, case


def test_what_is_read():
    """Each file only where it matters: a damaged one stops no run that does without it, and checkpoints are large."""
    for case, _ in CASES:
        read_files = []
        try:
            decide(facts(case, lambda name, value: (read_files.append(name), value)[1]))
        except (ValueError, FileNotFoundError):
            pass
        if case['source'] in ('missing', 'itself') or case['selected'] == 'yes' and case['option'] == 'overwrite':
            assert read_files == []
        elif case['selected'] == 'yes' and case['option'] == 'none':
            assert read_files == ['hand-over']
        assert 'source' not in read_files or case['holds'] == 'trained'
        assert 'result' not in read_files or case['holds'] == 'trained'
        assert 'checkpoint' not in read_files or (case['option'], case['source']) == ('resume', 'none') and \
            case['holds'] in ('nothing', 'files')


def test_the_words_that_tell_of_states():
    assert {state.name: state.intent for state in State} == dict(
        START='train', RESUME='go on', TAKE='take over', FINISH='take over', EVALUATE='test', FINISHED='finished')
    assert State.RESUME.__doc__ == 'Its training was stopped, and goes on from the last whole checkpoint.'
    assert [state.name for state in State if state.begins] == ['START', 'TAKE']
    assert all(pickle.loads(pickle.dumps(state)) is state for state in State)  # the main process sends it to the others

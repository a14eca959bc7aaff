import json
import re

import pytest

from mmcss.memory import Exemplar, Memory, Source
from mmcss.scenario import Split
from tests.makers import split_of


def source(number, **values):
    return Source(f'old/images/{number}.jpg', f'old/labels/{number}.png', f'{number:032d}', values)


MEMORY = Memory(
    [
        Exemplar(0, 'town/i0.jpg', labelled=('b', 'a'), holds=('a', ), source=source(0, a=1)),
        Exemplar(1, 'i1.jpg', labelled=('d', ), holds=(), image='memory/images/00001.jpg', labels='memory/labels/00001.png',
                 saliency='memory/saliency/00001.png', source=source(1, a=2)),
    ],
    images_seen=12,
    classes_seen=dict(b=3, a=5, d=4))


@pytest.mark.parametrize('memory', [MEMORY, Memory()])
def test_what_is_saved_is_loaded(tmp_path, memory):
    memory.save(tmp_path / 'memory.json')
    assert Memory.load(tmp_path / 'memory.json') == memory
    assert Memory.load(str(tmp_path / 'memory.json')) == memory


def test_the_file_is_plain_json(tmp_path):
    MEMORY.save(tmp_path / 'memory.json')
    values = json.loads((tmp_path / 'memory.json').read_text())
    assert values['images_seen'] == 12 and values['classes_seen'] == dict(b=3, a=5, d=4)
    assert values['exemplars'][0] == dict(
        leaf=0, name='town/i0.jpg', labelled=['b', 'a'], holds=['a'], image=None, labels=None, saliency=None,
        source=dict(image='old/images/0.jpg', labels='old/labels/0.png', digest=f'{0:032d}', saliency=None, data_set=0))


def test_an_older_file_is_replaced(tmp_path):
    MEMORY.save(tmp_path / 'memory.json')
    Memory(images_seen=1).save(tmp_path / 'memory.json')
    assert Memory.load(tmp_path / 'memory.json') == Memory(images_seen=1)
    assert [path.name for path in tmp_path.iterdir()] == ['memory.json']


def test_a_new_memory_is_empty_and_shares_nothing():
    memory, other = Memory(), Memory()
    memory.exemplars.append(MEMORY.exemplars[0])
    memory.classes_seen['a'] = 1
    assert other.exemplars == [] and other.classes_seen == {} and other.images_seen == 0


def test_a_missing_file_says_what_to_do(tmp_path):
    path = tmp_path / 'memory.json'
    message = (f'{path} is missing: the step before was trained without continual.memory. Run it with '
               'this config, or import step 0 by --first-step-from.')
    with pytest.raises(FileNotFoundError, match=f'^{re.escape(message)}$'):
        Memory.load(path)


def of_another_data_set(number, **values):
    return Exemplar(None, f'{number}.jpg', ('a', ), ('a', ), source=source(number, **values))


def test_the_values_of_a_data_set_are_written_once(tmp_path):
    memory = Memory([of_another_data_set(0, a=1, b=2), of_another_data_set(1, a=2, b=1), of_another_data_set(2, a=1, b=2)])
    memory.save(tmp_path / 'memory.json')
    values = json.loads((tmp_path / 'memory.json').read_text())
    assert values['data_sets'] == [dict(a=1, b=2), dict(a=2, b=1)]
    assert [exemplar['source']['data_set'] for exemplar in values['exemplars']] == [0, 1, 0]
    assert Memory.load(tmp_path / 'memory.json') == memory


def changed(edit):
    """The text of a memory that is edited as JSON."""
    memory = Memory([*MEMORY.exemplars, of_another_data_set(2, a=3)], 12, dict(b=3, a=5, d=4))

    def write(path):
        memory.save(path)
        values = json.loads(path.read_text())
        edit(values)
        path.write_text(json.dumps(values))

    return write


def of_first(**values):
    return changed(lambda memory: memory['exemplars'][0].update(values))


def of_copy(**values):
    return changed(lambda memory: memory['exemplars'][1].update(values))


def of_source(**values):
    return changed(lambda memory: memory['exemplars'][2]['source'].update(values))


DAMAGED = {
    'half': (lambda path: changed(lambda memory: None)(path) or path.write_text(path.read_text()[:99]), ''),
    'no text': (lambda path: path.write_bytes(b'\xff\xfe\x00'), ''),
    'null': (lambda path: path.write_text('null'), 'memory.json is damaged: it holds None, expected a dict'),
    'a list': (lambda path: path.write_text('[]'), 'memory.json is damaged: it holds [], expected a dict'),
    'empty': (lambda path: path.write_text('{}'), 'it lacks exemplars, images_seen, classes_seen'),
    'another key': (changed(lambda memory: memory.update(more=1)), 'more is 1: Unexpected'),
    'a number for the list': (changed(lambda memory: memory.update(exemplars=3)), 'exemplars is 3: Input should be a valid array'),
    'a negative count': (changed(lambda memory: memory.update(images_seen=-1)), 'images_seen is -1: Input should be greater than or equal to 0'),
    'true for a count': (changed(lambda memory: memory['classes_seen'].update(a=True)), 'classes_seen.a is True: Input should be a valid integer'),
    'a key of an exemplar': (of_first(more=1), 'exemplars[0].more is 1: Unexpected'),
    'no name': (changed(lambda memory: memory['exemplars'][0].pop('name')), 'exemplars[0].name is '),
    'names as a text': (of_first(labelled='a'), "exemplars[0].labelled is 'a': Input should be a valid array"),
    'leaf as a text': (of_first(leaf='0'), "exemplars[0].leaf is '0': Input should be a valid integer"),
    'no source': (changed(lambda memory: memory['exemplars'][0].pop('source')), 'town/i0.jpg has no source'),
    'null as source': (of_first(source=None), 'exemplars[0].source is None: Input should be an object'),
    'half a copy': (of_copy(labels=None), 'it names a copy of only its image or only its label map'),
    'source as a text': (of_first(source='x'), "exemplars[0].source is 'x': Input should be an object"),
    'no digest': (of_source(digest=None), 'exemplars[2].source.digest is None: Input should be a valid string'),
    'no such data set': (of_source(data_set=3), "exemplars[2].source.data_set is 3, but data_sets is [{'a': 1}, {'a': 2}, {'a': 3}]"),
    'a value above 255': (changed(lambda memory: memory['data_sets'][2].update(a=256)), 'exemplars[2].source.values.a is 256: Input should be less'),
    'a copy above the folder': (of_copy(image='../x.jpg'), 'the image of i1.jpg is ../x.jpg, which lies outside of its folder'),
    'an absolute copy': (of_copy(labels='/x.png'), 'the labels of i1.jpg is /x.png, which lies outside'),
    'a saliency map elsewhere': (of_copy(saliency='memory/../../x.png'), 'the saliency of i1.jpg is memory/../../x.png'),
    'the folder itself': (of_copy(image='.'), 'the image of i1.jpg is ., which lies outside'),
    'an unknown class': (of_first(labelled=['zebra']), "labelled of town/i0.jpg names the classes ['zebra'], but those "
                         "seen at step 1 are ['b', 'a', 'd']"),
    'a class to come': (of_first(holds=['c']), "holds of town/i0.jpg names the classes ['c']"),
    'a count of an unknown class': (changed(lambda memory: memory['classes_seen'].update(zebra=1)),
                                    "classes_seen names the classes ['zebra']"),
}


@pytest.mark.parametrize('kind', DAMAGED)
def test_a_damaged_file_is_named(tmp_path, kind):
    path = tmp_path / 'step_0' / 'memory.json'
    path.parent.mkdir()
    spoil, message = DAMAGED[kind]
    spoil(path)
    with pytest.raises(ValueError) as caught:
        Memory.load(path, Split.from_dict(split_of((('b', 'a'), ('d', ), ('c', )), 1)))
    text = str(caught.value)
    assert text.startswith(f'{path} can not be used: ') and message in text
    assert text.endswith('Restore the file that the step wrote, or train that step again (--step 0 --overwrite).')


@pytest.mark.parametrize('link', ['memory', 'memory/images', 'memory/images/00001.jpg'])
def test_links_out_of_the_folder_are_refused(tmp_path, link):
    outside, path = tmp_path / 'outside', tmp_path / 'step_0' / 'memory.json'
    (outside / 'images').mkdir(parents=True)
    (path.parent / link).parent.mkdir(parents=True)
    (path.parent / link).symlink_to(outside)
    MEMORY.save(path)
    with pytest.raises(ValueError, match=r'the image of i1\.jpg is memory/images/00001\.jpg, which lies outside'):
        Memory.load(path)
    # One that stays inside is as good as its target.
    (path.parent / link).unlink()
    (path.parent / 'inside').mkdir()
    (path.parent / link).symlink_to(path.parent / 'inside')
    assert Memory.load(path) == MEMORY

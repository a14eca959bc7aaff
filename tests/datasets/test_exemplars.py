import json
import re

import pytest

from mmcss.datasets.exemplars import Exemplar, ExemplarMemory

MEMORY = ExemplarMemory(
    [
        Exemplar(0, 'town/i0.jpg', labelled=('b', 'a'), holds=('a', )),
        Exemplar(1, 'i1.jpg', labelled=('d', ), holds=(), image='memory/images/00001.jpg',
                 labels='memory/labels/00001.png', saliency='memory/saliency/00001.png'),
    ],
    images_seen=12,
    classes_seen=dict(b=3, a=5, d=4))


@pytest.mark.parametrize('memory', [MEMORY, ExemplarMemory()])
def test_what_is_saved_is_loaded(tmp_path, memory):
    memory.save(tmp_path / 'memory.json')
    assert ExemplarMemory.load(tmp_path / 'memory.json') == memory
    assert ExemplarMemory.load(str(tmp_path / 'memory.json')) == memory


def test_the_file_is_plain_json(tmp_path):
    MEMORY.save(tmp_path / 'memory.json')
    values = json.loads((tmp_path / 'memory.json').read_text())
    assert values['images_seen'] == 12 and values['classes_seen'] == dict(b=3, a=5, d=4)
    assert values['exemplars'][0] == dict(
        leaf=0, name='town/i0.jpg', labelled=['b', 'a'], holds=['a'], image=None, labels=None, saliency=None)


def test_an_older_file_is_replaced(tmp_path):
    MEMORY.save(tmp_path / 'memory.json')
    ExemplarMemory(images_seen=1).save(tmp_path / 'memory.json')
    assert ExemplarMemory.load(tmp_path / 'memory.json') == ExemplarMemory(images_seen=1)
    assert [path.name for path in tmp_path.iterdir()] == ['memory.json']


def test_a_new_memory_is_empty_and_shares_nothing():
    one, two = ExemplarMemory(), ExemplarMemory()
    one.exemplars.append(MEMORY.exemplars[0])
    one.classes_seen['a'] = 1
    assert two.exemplars == [] and two.classes_seen == {} and two.images_seen == 0


def test_a_missing_file_says_what_to_do(tmp_path):
    path = tmp_path / 'memory.json'
    message = (f'{path} is missing: the step before was trained without continual.memory. Run it with '
               'this config, or take step 0 over with --first-step-from.')
    with pytest.raises(FileNotFoundError, match=f'^{re.escape(message)}$'):
        ExemplarMemory.load(path)

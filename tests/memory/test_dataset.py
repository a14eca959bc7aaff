import copy
import pickle

import pytest

from mmcss.memory import Exemplar, Memory, WithMemory
from tests.makers import PIPELINE, folder_config, mapped, split_of, stems
from tests.memory.memories import write_memory

# Learning order: background, b, a, d, c.
STEPS = (('b', 'a'), ('d', ), ('c', ))


def make(root, *names, **options):
    """Step 1, and the memory of a step before that knew b and a."""
    config = folder_config(root, **options)
    path = write_memory(root / 'memory.json', config, [Exemplar(0, f'{name}.jpg', ('b', 'a'), ()) for name in names])
    return WithMemory(config, split_of(STEPS, 1), dict(role='train'), path=path)


def test_remembered_images_stand_behind_those_of_the_step(tmp_path):
    dataset = make(tmp_path, 'i6', 'i2')
    assert (len(dataset), dataset.num_images, dataset.num_memory, dataset.first_remembered) == (3, 3, 2, 3)
    assert {stem: mapped(dataset[i]) for i, stem in enumerate(stems(dataset))} == {
        'i1': [0, 3], 'i2': [3, 0, 255], 'i3': [3, 0]}
    assert [mapped(dataset[i]) for i in (3, 4)] == [[1, 0], [3, 2, 255]]


def test_an_empty_memory(tmp_path):
    dataset = WithMemory(folder_config(tmp_path), split_of(STEPS, 1), dict(role='train'))
    assert dataset.num_memory == 0 and dataset.memory == Memory()


def test_a_remembered_image_that_gives_no_data_is_replaced_by_one_of_the_step(tmp_path):
    pipeline = [PIPELINE[0], dict(type='GiveUp', names=['i0', 'i1']), *PIPELINE[1:]]
    dataset = make(tmp_path, 'i0', pipeline=pipeline)
    drawn = [dataset[3] for _ in range(40)]
    names = {data['data_samples'].img_path.rsplit('/', 1)[1]: mapped(data) for data in drawn}
    assert names == {'i2.jpg': [3, 0, 255], 'i3.jpg': [3, 0]}


@pytest.mark.parametrize('copied', [copy.deepcopy, lambda dataset: pickle.loads(pickle.dumps(dataset))])
def test_a_copy_remembers_the_same(tmp_path, copied):
    dataset = copied(make(tmp_path, 'i2'))
    assert (mapped(dataset[1]), mapped(dataset[3])) == ([3, 0, 255], [3, 2, 255])


def test_an_exemplar_is_drawn_again_until_the_pipeline_gives_data(tmp_path):
    pipeline = [PIPELINE[0], dict(type='GiveUp', names=['i2'], times=3), *PIPELINE[1:]]
    dataset = make(tmp_path, pipeline=pipeline)
    exemplar = Exemplar(0, 'i2.jpg', labelled=('d', ), holds=('d', ))
    assert dataset.load_exemplar(exemplar)['data_samples'].img_path.endswith('i2.jpg')
    never = [PIPELINE[0], dict(type='GiveUp', names=['i2']), *PIPELINE[1:]]
    dataset = make(tmp_path, pipeline=never)
    with pytest.raises(RuntimeError, match='no data of i2.jpg in 1000 tries'):
        dataset.load_exemplar(exemplar)

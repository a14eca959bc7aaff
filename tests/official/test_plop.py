import numpy as np

from mmcss.datasets.domains import DomainImages
from mmcss.scenario import DomainIncremental

STEPS = DomainIncremental.from_config(('road', ), domains=['aachen', 'bremen', 'celle'])


def test_the_published_draw_tests_on_images_that_it_has_trained_on():
    names = [f'{city}/{i}.png' for city in ('aachen', 'bremen', 'celle') for i in range(50)]
    images = DomainImages('folder', test_share=.2, partition='published')

    def chosen(step, training):
        return images.chosen(names, STEPS[step].domains, training)

    trained = [chosen(step, True) for step in range(3)]
    assert [one.sum() for one in trained] == [40, 40, 40]
    assert not (trained[0] & chosen(0, False)).any()  # step 0 alone is clean
    tested = chosen(2, False)
    assert tested.sum() == 30
    leaked = (np.any(trained, axis=0) & tested).sum()
    assert leaked / 30 > .5
    numbers = list(range(150))
    np.random.RandomState(1).shuffle(numbers)
    assert np.flatnonzero(tested).tolist() == sorted(numbers[120:])

"""Selection at full scale against published numbers of images per step."""
import csv

import numpy as np
import pytest

from mmcss.scenario import ClassIncremental, TrainView
from tests.shared_data import shared

FILES = {'VOC 2012 train_aug': ('voc2012_train_aug_classes.txt', 20), 'ADE20K train': ('ade20k_train_classes.txt', 150)}


def read_presence(name):
    rows = [line.split()[1:] for line in shared('splits', name).read_text().splitlines() if not line.startswith('#')]
    presence = np.zeros((len(rows), 256), dtype=bool)
    for row, values in zip(presence, rows):
        row[[0, *map(int, values)]] = True
    return presence


@pytest.fixture(scope='module')
def tables():
    return {name: read_presence(file) for name, (file, _) in FILES.items()}


def test_every_row_of_the_published_counts(tables):
    with open(shared('splits', 'images_per_step.csv')) as file:
        rows = list(csv.DictReader(file))
    assert len(rows) >= 28
    for row in rows:
        names = [str(i + 1) for i in range(FILES[row['dataset']][1])]
        scenario = ClassIncremental.from_config(names, steps=row['scenario'], regime=row['setting'])
        raw_ids = {'background': 0, **{name: int(name) for name in names}}
        view = TrainView(scenario.regime)
        counts = [len(view.select(tables[row['dataset']], split, raw_ids)) for split in scenario]
        assert counts == [int(n) for n in row['images per step'].split()], row

"""Scan and selection of VOC 2012 and ADE20K at full scale: the real label sets in tiny files.

Limits are of two idle cores. Processor time is held against them, which a
loaded machine leaves alone, with room for slower machines.
"""
import csv
import importlib.util
import time
from pathlib import Path

import numpy as np
import pytest
from mmengine.config import Config

from mmcss.datasets import LabelledImages, presence_table
from mmcss.scenario import ClassIncremental, TrainView
from tests.shared_data import shared

ROOT = Path(__file__).resolve().parents[2]
spec = importlib.util.spec_from_file_location('make_voc_tree', ROOT / 'tools' / 'make_voc_tree.py')
make_voc_tree = importlib.util.module_from_spec(spec)
spec.loader.exec_module(make_voc_tree)

pytestmark = pytest.mark.slow
# Data set config, name in images_per_step.csv, images, classes, rows of the csv, most processor seconds of the scan.
SETS = [('voc2012', 'VOC 2012 train_aug', 10582, 20, 18, 10), ('ade20k', 'ADE20K train', 20210, 150, 10, 20)]


class Clock:
    """Processor seconds of all threads, and seconds on the clock, of a block."""

    def __init__(self, what):
        self.what = what

    def __enter__(self):
        self.start = time.process_time(), time.perf_counter()
        return self

    def __exit__(self, *_):
        self.processor, self.wall = time.process_time() - self.start[0], time.perf_counter() - self.start[1]
        print(f'{self.what}: {self.processor:.3f} s of processors, {self.wall:.3f} s')


@pytest.mark.parametrize('name, title, number, num_classes, num_rows, most', SETS)
def test_scan_and_select(tmp_path, monkeypatch, name, title, number, num_classes, num_rows, most):
    splits = shared('splits')
    make_voc_tree.make_tree(splits, tmp_path / 'data', name)
    monkeypatch.chdir(tmp_path)  # where the configs look for data/
    dataset = Config.fromfile(str(ROOT / 'configs' / '_base_' / 'datasets' / f'{name}.py')).train_dataloader.dataset

    with Clock(f'{name}, scan') as scan:
        images = LabelledImages(dataset)
    assert [sum(map(len, images.presence)), len(images.names.foreground)] == [number, num_classes]
    assert scan.processor < most

    with Clock(f'{name}, cached start'):
        again = LabelledImages(dataset)
    # Opening the data set, mmengine's business, is the rest.
    with Clock(f'{name}, cached table') as cached:
        tables = [presence_table(leaf) for leaf in again.leaves]
    assert all(np.array_equal(*pair) for pair in zip(tables, images.presence))
    assert cached.processor < 0.5

    with open(splits / 'images_per_step.csv') as file:
        rows = [row for row in csv.DictReader(file) if row['dataset'] == title]
    assert len(rows) == num_rows
    scenarios = [ClassIncremental.from_config(images.names.foreground, steps=row['scenario'], regime=row['setting'])
                 for row in rows]
    with Clock(f'{name}, selection of all {num_rows} scenarios') as selection:
        counts = [[len(images.select(TrainView(scenario.regime), split)) for split in scenario]
                  for scenario in scenarios]
    for row, images in zip(rows, counts):
        assert images == [int(count) for count in row['images per step'].split()], row
    assert selection.processor < 0.5

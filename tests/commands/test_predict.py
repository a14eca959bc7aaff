"""``mmcss predict`` as users call it."""
import argparse
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tests import command
from tests.untrained import write_step


call = partial(command.call, 'predict')


@pytest.fixture(scope='module')
def work_dir(tiny_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp('run')
    for step in (0, 1):
        write_step(tiny_data, folder, step, scenario=dict(steps=[['white', 'blue'], ['red'], ['green']]))
    return folder


def names(folder):
    return sorted(path.name for path in Path(folder).iterdir())


def test_a_folder_of_images(work_dir, tiny_data, capsys):
    assert call(work_dir, tiny_data / 'images' / 'val') is None
    out = work_dir / 'step_1' / 'predictions'
    assert names(out / 'overlays') == names(out / 'labels') == ['000.png', '001.png', '002.png', '003.png']
    lines = capsys.readouterr().out.splitlines()
    assert '000.png: ' in lines[-5] and '%' in lines[-5]
    assert lines[-1] == f'4 of 4 images segmented by {work_dir}/step_1/step_1.pth; see {out}/overlays and {out}/labels'
    values = np.unique([np.asarray(Image.open(path)) for path in (out / 'labels').iterdir()])
    assert len(values) > 1 and set(values) <= {0, 4, 3, 1}


def test_an_earlier_step_into_another_folder(work_dir, tiny_data, tmp_path):
    call(work_dir, tiny_data / 'images' / 'val' / '002.png', '--step', 0, '--out', tmp_path / 'out')
    assert names(tmp_path / 'out' / 'labels') == ['002.png']


def test_images_that_can_not_be_read_are_told_at_the_end(work_dir, tiny_data, tmp_path, capsys):
    (tmp_path / 'bad.png').write_text('no image')
    assert call(work_dir, tmp_path / 'bad.png', tiny_data / 'images' / 'val' / '002.png', '--out', tmp_path / 'out') == 1
    assert names(tmp_path / 'out' / 'labels') == ['002.png']
    told = capsys.readouterr().out
    assert '1 of 2 images segmented' in told and f'{tmp_path}/bad.png can not be read as an image' in told.splitlines()[-1]


@pytest.mark.parametrize('arguments, told', [
    (['{run}', '{data}', '--step', 2], r'has no trained step 2; the trained ones are 0, 1\.'),
    (['{run}/nothing', '{data}'], 'holds no step_k with deploy.py and step_k.pth'),
    (['{run}', '{data}/missing.jpg'], r'missing\.jpg does not exist'),
    (['{run}', '{empty}'], 'holds no image')])
def test_what_is_not_there(work_dir, tiny_data, tmp_path, arguments, told):
    places = dict(run=work_dir, data=tiny_data / 'images' / 'val', empty=tmp_path)
    with pytest.raises(argparse.ArgumentError, match=told):
        call(*(str(argument).format(**places) for argument in arguments))

"""Segmenting image files."""
import mmcv
import numpy as np
import pytest
from PIL import Image

from mmcss.apis import find_images, inference_model, init_model, label_map, predict_image


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()


def test_files_and_folders(tmp_path):
    folder, single = tmp_path / 'photos', tmp_path / 'single.odd'
    touch(folder / 'b.JPG', folder / 'a.png', folder / 'monday' / 'a.tif', folder / 'notes.txt', single)
    assert find_images([folder, str(single)]) == {
        'a': folder / 'a.png', 'b': folder / 'b.JPG', 'monday/a': folder / 'monday' / 'a.tif', 'single': single}
    assert list(find_images([single, single])) == ['single']


def test_what_are_no_images(tmp_path):
    with pytest.raises(FileNotFoundError, match='missing does not exist; expected an image'):
        find_images([tmp_path / 'missing'])
    touch(tmp_path / 'notes.txt')
    with pytest.raises(FileNotFoundError, match=r'holds no image; expected files ending with \.jpg, \.jpeg'):
        find_images([tmp_path])


def test_two_images_of_one_name(tmp_path):
    touch(tmp_path / 'a.jpg', tmp_path / 'a.png')
    with pytest.raises(ValueError, match=r'a\.jpg and .*a\.png would both be written as a\.png'):
        find_images([tmp_path])


def test_what_is_written(work_dir, tiny_data, tmp_path):
    model = init_model(work_dir, device='cpu')
    path = tiny_data / 'images' / 'val' / '001.png'
    predicted = predict_image(model, path, 'monday/a', tmp_path)
    assert predicted[:2] == (tmp_path / 'overlays' / 'monday' / 'a.png', tmp_path / 'labels' / 'monday' / 'a.png')
    expected = label_map(model, inference_model(model, path))
    with Image.open(predicted.labels) as labels:
        assert labels.mode == 'L'
        np.testing.assert_array_equal(labels, expected)
    numbers = dict(zip(model.dataset_meta['classes'], model.dataset_meta['label_values']))
    assert predicted.shares == {name: pytest.approx((expected == numbers[name]).mean()) for name in predicted.shares}
    assert sum(predicted.shares.values()) == pytest.approx(1)
    assert list(predicted.shares.values()) == sorted(predicted.shares.values(), reverse=True)
    assert mmcv.imread(str(predicted.overlay)).shape[1] == 600


def test_a_file_that_is_no_image(work_dir, tmp_path):
    (tmp_path / 'a.png').write_text('no image')
    with pytest.raises(ValueError, match=r'a\.png can not be read as an image \('):
        predict_image(init_model(work_dir, device='cpu'), tmp_path / 'a.png', 'a', tmp_path)

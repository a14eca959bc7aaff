import pytest

from mmcss.scenario.partitions import check_test_share, kept_for_tests

NAMES = [f'image_{number}.jpg' for number in range(1000)]


def test_a_share_of_the_images_is_kept_by_their_names():
    assert [name for name in NAMES[:20] if kept_for_tests(name, 0.2)] == ['image_2.jpg', 'image_5.jpg', 'image_9.jpg', 'image_16.jpg']
    assert sum(kept_for_tests(name, 0.2) for name in NAMES) == pytest.approx(200, abs=30)
    assert not any(kept_for_tests(name, 0.0) for name in NAMES)


def test_a_larger_share_holds_the_smaller_one():
    assert all(kept_for_tests(name, 0.4) for name in NAMES if kept_for_tests(name, 0.2))


@pytest.mark.parametrize('share', [-0.1, 1.0, 2])
def test_no_share(share):
    with pytest.raises(ValueError, match=rf'scenario\.test_share: got {share}, expected at least 0 and less than 1\.'):
        check_test_share(share)

import pytest

from mmcss.scenario import CLASS_ORDERS, PLOP_PAPER_ORDERS, ClassIncremental
from mmcss.scenario.orders import class_order

NAMES = tuple('abcdefghijklmnopqrst')


@pytest.mark.parametrize('name', CLASS_ORDERS)
def test_an_order_has_each_class_once(name):
    assert sorted(CLASS_ORDERS[name]) == list(range(1, 21))


def test_orders_are_the_data_set_s_and_those_of_the_code():
    assert list(CLASS_ORDERS) == [f'voc_{letter}' for letter in 'abcdefghijklmnopqrstuvw']
    assert CLASS_ORDERS['voc_a'] == tuple(range(1, 21))


@pytest.mark.parametrize('name, base, later', [
    ('voc_b', (12, 9, 20, 7, 15, 8, 14, 16, 5, 19, 4, 1, 13, 2, 11), (17, 3, 6, 18, 10)),
    ('voc_m', (18, 4, 14, 17, 12, 10, 7, 3, 9, 1, 8, 15, 6, 13, 2), (5, 11, 20, 16, 19)),
    ('voc_w', (1, 2, 12, 14, 13, 19, 18, 7, 11, 20, 8, 4, 9, 16, 10), (3, 15, 6, 5, 17)),
])
def test_rows(name, base, later):
    assert CLASS_ORDERS[name] == base + later


def test_the_paper_s_twenty_are_distinct():
    assert len({CLASS_ORDERS[name] for name in PLOP_PAPER_ORDERS}) == len(PLOP_PAPER_ORDERS) == 20
    assert set(CLASS_ORDERS) - set(PLOP_PAPER_ORDERS) == {'voc_t', 'voc_u', 'voc_w'}


def test_a_scenario_takes_an_order_by_name():
    scenario = ClassIncremental.from_config(NAMES, steps='15-1', class_order='voc_b')
    assert scenario.steps == (tuple('litgohnpesdambk'), ('q', ), ('c', ), ('f', ), ('r', ), ('j', ))
    assert scenario == ClassIncremental.from_config(NAMES, steps='15-1', class_order=list(CLASS_ORDERS['voc_b']))


@pytest.mark.parametrize('name', ['b', 'voc_x', ''])
def test_an_unknown_name_lists_the_orders(name):
    with pytest.raises(ValueError, match=f"scenario.class_order: got '{name}', valid are a list of names or positions, "
                       'or one of voc_a, voc_b, .*, voc_w\\.'):
        class_order(name)


def test_an_order_of_another_data_set_is_refused():
    with pytest.raises(ValueError, match='scenario.class_order: got position 12, expected 1 to 7'):
        ClassIncremental.from_config(NAMES[:7], base=5, increment=1, class_order='voc_b')
    with pytest.raises(ValueError, match=r"expected each class once; twice: \[\], missing: \['u'\]"):
        ClassIncremental.from_config((*NAMES, 'u'), base=5, increment=1, class_order='voc_b')

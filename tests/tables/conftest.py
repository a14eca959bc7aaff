import pytest

from mmcss.tables import read_table

TABLE = '''
config: configs/*/deeplabv3_r101_voc_15-1.py
model: deeplabv3_r18_scratch
options: {train_cfg.max_epochs: 3}
scenarios:
  shapes8_5-1:
  shapes8_reversed: {of: shapes8_5-1, scenario.class_order: [8, 7, 6, 5, 4, 3, 2, 1]}
seeds: [0, 1]
rows:
  finetune: {title: fine-tuning}
  plop: {scenarios: [shapes8_5-1], options: {continual.losses.local_pod.loss_weight: 0.02}}
  rates: {method: plop, title: PLOP, seeds: [3], vary: {next_steps.optim_wrapper.optimizer.lr: [0.1, 0.2]}, note: rates}
'''


@pytest.fixture
def write_table(tmp_path):
    """Write a table, with more lines behind it; its results and work_dirs are below the test's folder."""
    def write(more=''):
        file = tmp_path / 'small.yaml'
        file.write_text(f'{TABLE}results: {tmp_path}/results\nwork_dirs: {tmp_path}/work_dirs\n{more}')
        return read_table(file)

    return write

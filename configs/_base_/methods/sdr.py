# SDR (Michieli and Zanuttigh, CVPR 2021): MiB, and four terms that shape the
# backbone's output. The weights are the defaults of the authors' code; to begin
# with on other data they recommend loss_weight=10 and sparsity=1e-4.
_base_ = './mib.py'
continual = dict(
    losses=dict(
        unkd=dict(loss_weight=100.0),
        sdr=dict(type='LatentShaping', matching=0.01, attraction=0.001, repulsion=0.001, sparsity=0.001)))
official = dict(
    continual=dict(new_rows='random', losses=dict(sdr=dict(type='LatentShaping', background=True, first_step=False))))

# What scenarios, methods and models take when an experiment is composed of them
# (tools/train.py CONFIG --scenario NAME --model NAME; mmcss/engine/composition.py).
#
# A row holds where the names of files of scenarios/, methods/ and models/ match
# one of its patterns; it says
#   schedule, runtime  the files taken,
#   variant            that methods/METHOD_VARIANT.py stands for methods/METHOD.py,
#   settings           what is merged into the config,
#   excluded           why there is no such experiment.
# Later rows win; settings are merged one after another. A name that no row knows
# (a scenario of your own) keeps the schedule and runtime that CONFIG has.
online = ['a_gem', 'coriseg', 'er', 'icarl', 'lwf_mc_online', 'mib_online', 'mir', 'online_em']
ssul = ['ssul', 'ssul_m']
sats = ['sats', 'sats_m']
transformers = ['segformer_*', 'upernet_*']
large = ['deeplabv3_r101*', 'segformer_mit-b0', 'segformer_mit-b2', 'upernet_*']

rows = [
    dict(runtime='default_runtime'),
    dict(
        methods=sats, models=['deeplabv3_*'],
        excluded='SATS transfers the attention of a transformer; take segformer_mit-b0, segformer_mit-b2 or upernet_swin-t'),
    # VOC
    dict(scenarios=['voc_*'], schedule='voc'),
    dict(scenarios=['voc_*'], models=transformers, schedule='voc_adamw'),
    dict(scenarios=['voc_*'], methods=sats, schedule='voc_sats'),
    # 32 images a batch on two devices.
    dict(scenarios=['voc_*'], methods=ssul, schedule='voc_ssul', settings=dict(train_dataloader=dict(batch_size=16))),
    dict(scenarios=['voc_*'], methods=online, schedule='voc_online'),
    # The authors' epochs of the steps from 1 on.
    dict(
        scenarios=['voc_10-1'], methods=['plop'],
        settings=dict(official=dict(next_steps=dict(train_cfg=dict(max_epochs=10))))),
    # The authors' weight for this scenario (MiB issue 22); 10 in their others, and in PLOP's comparison.
    dict(
        scenarios=['voc_15-1_mib_crops'], methods=['mib'],
        settings=dict(
            official=dict(continual=dict(losses=dict(unkd=dict(type='UnbiasedDistillation', loss_weight=100.0)))))),
    # ADE20K
    dict(scenarios=['ade_*'], schedule='ade20k'),
    dict(scenarios=['ade_*'], models=transformers, schedule='ade20k_adamw'),
    dict(scenarios=['ade_*'], methods=['online_em', 'plop', 'reminder', 'sats_m', 'ssul', 'ssul_m'], variant='ade20k'),
    # 32 images a batch on two devices.
    dict(scenarios=['ade_*'], methods=sats, schedule='voc_sats', settings=dict(train_dataloader=dict(batch_size=16))),
    dict(scenarios=['ade_*'], methods=ssul, schedule='ade20k_ssul'),
    dict(scenarios=['ade_*'], methods=online, schedule='voc_online', settings=dict(scenario=dict(regime='disjoint'))),
    # The authors' learning rate of this scenario's step 1.
    dict(
        scenarios=['ade_100-50'], methods=['reminder'],
        settings=dict(official=dict(next_steps=dict(optim_wrapper=dict(optimizer=dict(lr=0.0008)))))),
    # Cityscapes by class; the models that say their images' size get its own.
    dict(scenarios=['cityscapes_*'], schedule='voc'),
    dict(scenarios=['cityscapes_*'], models=transformers, schedule='voc_adamw'),
    dict(scenarios=['cityscapes_*'], methods=sats, schedule='voc_sats'),
    dict(scenarios=['cityscapes_*'], methods=ssul, schedule='voc_ssul'),
    dict(scenarios=['cityscapes_*'], methods=online, schedule='voc_online'),
    dict(
        scenarios=['cityscapes_[!d]*'], models=large,
        settings=dict(model=dict(data_preprocessor=dict(size=(512, 1024))))),
    # Whatever has no label is unknown.
    dict(
        scenarios=['cityscapes_*'], methods=ssul,
        settings=dict(continual=dict(unknown=dict(_delete_=True, of='background')))),
    # The authors' protocol would score the background.
    dict(
        scenarios=['cityscapes_[!d]*'],
        methods=[*sats, *ssul, 'ewc', 'finetune', 'ilt*', 'lwf', 'lwf_mc', 'pi', 'plop*', 'reminder*', 'rw'],
        settings=dict(official=dict(protocol=dict(_delete_=True, background=False)))),
    # Cityscapes by city
    dict(scenarios=['cityscapes_domains_*'], schedule='cityscapes_domains'),
    # The authors' script for 1-1 has another factor on the logits.
    dict(
        scenarios=['cityscapes_domains_1-1'], methods=['plop'],
        settings=dict(continual=dict(losses=dict(local_pod=dict(logits_weight=0.001))))),
    # CamVid, MSRC and the generated shapes
    dict(scenarios=['camvid11_*'], schedule='camvid11'),
    dict(scenarios=['camvid11_*'], methods=online, schedule='camvid11_online'),
    dict(scenarios=['camvid11_domains'], schedule='camvid11_domains'),
    dict(scenarios=['msrc21_*'], schedule='msrc21'),
    dict(scenarios=['msrc21_*'], methods=online, schedule='msrc21_online'),
    dict(scenarios=['shapes8_*'], schedule='shapes8', runtime='quiet_runtime'),
    dict(scenarios=['shapes8_*'], methods=online, schedule='shapes8_online'),
    dict(scenarios=['voc12_*'], schedule='voc12'),
    dict(scenarios=['voc12_*'], methods=online, schedule='voc12_online'),
    # Batches as large as the data set cuts them.
    dict(
        scenarios=['camvid11_*', 'msrc21_*', 'shapes8_*', 'voc12_*'], models=large,
        settings=dict(model=dict(data_preprocessor=dict(size=None, size_divisor=32)))),
    # Without saliency maps: whatever has no label is unknown.
    dict(
        scenarios=['camvid11_*', 'shapes8_*'], methods=ssul,
        settings=dict(continual=dict(unknown=dict(_delete_=True, of='background')))),
    # Maps: tools/prepare_saliency.py --opencv fine_grained. Only the classifier's new rows learn, and fast.
    dict(
        scenarios=['msrc21_*'], methods=ssul,
        settings=dict(
            continual=dict(unknown=dict(folder='../msrc21_saliency')),
            next_steps=dict(optim_wrapper=dict(paramwise_cfg=dict(custom_keys={'conv_seg': dict(lr_mult=10.0)}))))),
    # Only the classifier's new rows learn, at step 0's rate as in the authors' code.
    dict(
        scenarios=['voc12_*'], methods=ssul,
        settings=dict(
            continual=dict(unknown=dict(folder='saliency/train')),
            next_steps=dict(optim_wrapper=dict(optimizer=dict(lr=0.01))))),
    # Steps of domains
    dict(scenarios=['*_domains*'], methods=['mib', 'plop'], variant='domain'),
    dict(
        scenarios=['*_domains*'],
        methods=['icarl', 'lwf_mc*', 'mib_*', 'online_em', 'plop_m', 'reminder*', *sats, 'sdr', *ssul],
        excluded='steps of domains bring no new classes, which the method is about'),
    dict(
        scenarios=['*_domains*'], methods=online,
        excluded='there is no schedule for streams of domains'),
]

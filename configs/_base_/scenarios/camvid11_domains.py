# CamVid's three drives, one after another: dusk, then two by day. The share of
# each that is kept for tests is drawn once; train and test data are the same
# folder. The unlabelled pixels are no class here.
_base_ = '../datasets/camvid11.py'
scenario = dict(
    type='DomainIncremental', domains=['0001TP', '0006R0', '0016E5'], rule=dict(prefix=6), test_share=0.2)
protocol = dict(background=False)
test_dataloader = dict(dataset=dict(data_prefix=dict(img_path='images/train', seg_map_path='labels/train')))

# MMSegmentation's own file, which knows nothing of mmcss.
_base_ = 'mmseg::_base_/models/segformer_mit-b0.py'
model = dict(data_preprocessor=dict(size=(512, 512)))

_base_ = './voc_15-1.py'
scenario = dict(regime='disjoint')

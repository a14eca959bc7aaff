_base_ = './voc_15-5.py'
scenario = dict(regime='disjoint')

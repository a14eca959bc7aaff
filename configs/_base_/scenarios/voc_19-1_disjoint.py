_base_ = './voc_19-1.py'
scenario = dict(regime='disjoint')

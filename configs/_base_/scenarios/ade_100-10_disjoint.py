_base_ = './ade_100-10.py'
scenario = dict(regime='disjoint')

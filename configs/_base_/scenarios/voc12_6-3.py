# Two steps of three classes: horse, sheep and cow, then three rare things.
_base_ = './voc12_7-1.py'
scenario = dict(base=6, increment=3)

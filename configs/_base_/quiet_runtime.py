# Instead of a log, ten lines a step that say how far it is.
_base_ = './default_runtime.py'
log_level = 'ERROR'
custom_hooks = [dict(type='ProgressHook')]

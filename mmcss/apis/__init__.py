"""Using what a run has trained: loading a step's model, segmenting images, and writing it for others."""
from .export import PlainModel, export_step
from .inference import inference_model, init_model, label_map
from .onnx_export import OnnxFile, export_onnx
from .predict import Predicted, find_images, predict_image
from .steps import StepFiles, find_step

__all__ = ['OnnxFile', 'PlainModel', 'Predicted', 'StepFiles', 'export_onnx', 'export_step', 'find_images', 'find_step',
           'inference_model', 'init_model', 'label_map', 'predict_image']

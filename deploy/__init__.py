"""Put a fine-tuned model to use: exported to ONNX or as a program of torch, and run from there."""

from plainformer.deploy.onnx_export import export_onnx
from plainformer.deploy.onnx_model import OnnxModel
from plainformer.deploy.openvino_model import OpenVinoModel
from plainformer.deploy.torch_export import TorchModel, export_torch

__all__ = ["OnnxModel", "OpenVinoModel", "TorchModel", "export_onnx", "export_torch"]

"""Put a fine-tuned model to use: exported to ONNX, and run from there."""

from plainformer.deploy.onnx_export import export_onnx
from plainformer.deploy.onnx_model import OnnxModel

__all__ = ["OnnxModel", "export_onnx"]

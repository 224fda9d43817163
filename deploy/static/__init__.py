"""Distil an encoder into static token vectors: a table, looked up in place of the encoder.

distil_folder("minilm", Path("static"), size=256, data="stsb")
"""

from plainformer.deploy.static.folder import distil_folder
from plainformer.deploy.static.vectors import distil, sif_weights

__all__ = ["distil", "distil_folder", "sif_weights"]

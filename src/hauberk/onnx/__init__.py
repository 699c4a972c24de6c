"""ONNX files: export, checks, replay in torch, and execution by ONNX Runtime."""

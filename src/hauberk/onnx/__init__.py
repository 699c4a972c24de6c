"""The .onnx file: export, check, replay in torch, and execution by ONNX Runtime."""

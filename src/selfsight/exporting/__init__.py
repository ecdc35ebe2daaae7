"""Networks for other programs: ONNX, and state dicts of torchvision, timm and transformers."""

"""edgecc: compile ONNX transformers ahead of time, and run them."""

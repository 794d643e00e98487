"""Measurements that need more than the runtime: single layers made to order, other engines beside ours, plots.

    python3 -m edgecc.bench micro       every kind of weights of the kernel table, as shares of the machine's limits
    python3 -m edgecc.bench models      one random model as artifact, GGUF files and ONNX files
    python3 -m edgecc.bench compare     these, side by side, in turn
    python3 -m edgecc.bench plot        what came out, as SVG or PNG
"""

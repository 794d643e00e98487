//===- Passes.td - The one list of passes -----------------------------------===//
#ifndef EDGE_PASSES
#define EDGE_PASSES
include "mlir/Pass/PassBase.td"

//===----------------------------------------------------------------------===//
// normalize: onnx -> edge
//===----------------------------------------------------------------------===//

def ConvertOnnx : Pass<"edge-convert-onnx", "::mlir::ModuleOp"> {
  let summary = "turn onnx nodes into edge and linalg ops, with all shapes resolved to expressions of named dimensions";
  let description = [{
    Walks the graph once. Shape arithmetic is evaluated symbolically on the way and never becomes code. All nodes that cannot
    be converted are reported at once.

    example: test/passes/normalize/convert-onnx-shapes.mlir
  }];
  let dependentDialects = ["edge::EdgeDialect", "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::math::MathDialect", "::mlir::tensor::TensorDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect", "::mlir::LLVM::LLVMDialect"];
}

//===----------------------------------------------------------------------===//
// prune: edge -> edge
//===----------------------------------------------------------------------===//

def PruneChannels : Pass<"edge-prune-channels", "::mlir::ModuleOp"> {
  let summary = "remove channels between the linear layers of MLPs, and let the others take over what they can";
  let description = [{
    A chain linear(s) -> elementwise -> linear loses channels: rows of the first weights, columns of the last. What is kept of a layer is
    a multiple of 32, and a quarter of it at least. Without samples (the pass alone) only weights can be looked at: importance `magnitude`,
    compensation `none`. What the choices mean and bring: passes/prune/README.md.

    example: test/passes/prune/prune-channels.mlir
  }];
  let options = [
    Option<"share", "share", "double", "0", "of the channels of all layers that goes">,
    Option<"importance", "importance", "std::string", "\"surgeon\"", "what a channel is worth: surgeon, flap, wanda, magnitude">,
    Option<"compensation", "compensation", "std::string", "\"least-squares\"", "what the others take over: least-squares, bias, none">,
    Option<"spread", "spread", "std::string", "\"global\"", "how much each layer loses: global (where it costs least), even">,
  ];
  let dependentDialects = ["edge::EdgeDialect", "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect"];
}

def PruneHeads : Pass<"edge-prune-heads", "::mlir::ModuleOp"> {
  let summary = "remove KV heads and the query heads that read them, with their caches, and let the others take over what they can";
  let description = [{
    An attention loses rows of the weights that make its queries, keys and values, heads of its cache, and columns of the weight that reads its
    result. Each keeps a quarter of its KV heads at least. Importance, compensation and spread are those of `edge-prune-channels`.

    example: test/passes/prune/prune-heads.mlir
  }];
  let options = [
    Option<"share", "share", "double", "0", "of the KV heads of all layers that goes">,
    Option<"importance", "importance", "std::string", "\"surgeon\"", "what a head is worth: surgeon, flap, wanda, magnitude">,
    Option<"compensation", "compensation", "std::string", "\"least-squares\"", "what the others take over: least-squares, bias, none">,
    Option<"spread", "spread", "std::string", "\"global\"", "how much each layer loses: global (where it costs least), even">,
  ];
  let dependentDialects = ["edge::EdgeDialect", "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect"];
}

def PruneToSize : Pass<"edge-prune-to-size", "::mlir::ModuleOp"> {
  let summary = "remove KV heads and FFN channels, whatever loses least for its bytes, until the weights fit or a token is decoded fast enough";
  let description = [{
    What goes, what it is worth and what the others take over is as in `edge-prune-heads` and `edge-prune-channels`. Bytes are those of the
    packed weights, with the schemes that `edge-quantize-weights` will be given; passes/prune/README.md says what a speed is. With a size
    that is there already nothing goes, and a remark says so.

    example: test/passes/prune/prune-to-size.mlir
  }];
  let options = [
    Option<"size", "size", "std::string", "\"\"", "of all weights at most: bytes, 1.5MB, or 0.8x of what they have">,
    Option<"speed", "speed", "double", "0", "or: how many times fewer bytes (without a cache: multiply-adds) a token takes">,
    Option<"layers", "layers", "int64_t", "0", "whole layers that go before">,
    Option<"layersBy", "layers-by", "std::string", "\"output\"", "which ones: output, cosine">,
    Option<"importance", "importance", "std::string", "\"surgeon\"", "what a part is worth: surgeon, flap, wanda, magnitude">,
    Option<"compensation", "compensation", "std::string", "\"least-squares\"", "what the others take over: least-squares, bias, none">,
    Option<"spread", "spread", "std::string", "\"global\"", "what goes: global (what loses least for its bytes), even (the same share of each)">,
    Option<"scheme", "scheme", "std::string", "\"none\"", "that weights will be rounded by">,
    ListOption<"quantized", "layers-schemes", "std::string", "and of those that a pattern fits: PATTERN=SCHEME">,
    Option<"cache", "cache", "std::string", "\"\"", "what caches will be kept as">,
    Option<"arch", "arch", "std::string", "\"\"", "of the target, whose panels are counted">,
  ];
  let dependentDialects = ["edge::EdgeDialect", "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect"];
}

def PruneLayers : Pass<"edge-prune-layers", "::mlir::ModuleOp"> {
  let summary = "take whole layers out of the residual stream, with their caches";
  let description = [{
    Layers lie between hidden states through which all paths go. One after the other, that goes without which the last hidden state changes
    least (`cosine`: those whose input and output are most alike); the projection before each takes over what it can of what the layer added. Without samples (the pass alone) `which` has to say which.

    example: test/passes/prune/prune-layers.mlir
  }];
  let options = [
    Option<"count", "count", "int64_t", "0", "layers that go">,
    ListOption<"which", "which", "int64_t", "or these, counted from 0">,
    Option<"importance", "importance", "std::string", "\"output\"", "which ones go: output, cosine">,
    Option<"compensation", "compensation", "std::string", "\"least-squares\"", "what the rest takes over: least-squares, bias, none">,
  ];
  let dependentDialects = ["edge::EdgeDialect", "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect"];
}

def SliceWidth : Pass<"edge-slice-width", "::mlir::ModuleOp"> {
  let summary = "make the residual stream narrower: the table of tokens, and all layers that write to it or read it";
  let description = [{
    The stream is turned so that its directions are sorted by what they carry on samples, and the last of them go (SliceGPT, Ashkboos 2024).
    What each layer reads and writes is fitted to what it was in the whole model. Importance `wanda`, `flap` and `magnitude` take channels
    as they are. Without samples (the pass alone) only weights can be looked at: importance `magnitude`, compensation `none`.

    example: test/passes/prune/slice-width.mlir
  }];
  let options = [
    Option<"share", "share", "double", "0", "of the channels of the stream that goes">,
    Option<"importance", "importance", "std::string", "\"surgeon\"", "what is worth keeping: surgeon (directions), flap, wanda, magnitude (channels)">,
    Option<"compensation", "compensation", "std::string", "\"least-squares\"", "what the rest takes over: least-squares, bias, none">,
  ];
  let dependentDialects = ["edge::EdgeDialect", "::mlir::tensor::TensorDialect"];
}

//===----------------------------------------------------------------------===//
// attention: edge -> edge
//===----------------------------------------------------------------------===//

def MergeKvHeads : Pass<"edge-merge-kv-heads", "::mlir::ModuleOp"> {
  let summary = "give attention fewer KV heads, and the cache less to hold: equal ones folded, or similar ones merged on samples";
  let description = [{
    `heads` is `none`, `exact` (KV heads that another one's keys and values give, within the rounding of the weights, are dropped; query and output
    weights take the difference), a number of KV heads for each layer, or `auto` (as few as `max-kl` allows). Numbers and `auto` need samples.
    Each layer gets a remark, and an entry in the module's `edge.ledger`. How heads are grouped and merged: passes/attention/README.md.

    example: test/passes/attention/merge-kv-heads.mlir
  }];
  let options = [
    Option<"heads", "heads", "std::string", "\"none\"", "none, exact, auto, or a number">,
    Option<"merge", "merge", "std::string", "\"fit\"", "how heads are merged: fit, or mean (plain mean pooling, to compare with)">,
    Option<"steps", "steps", "int64_t", "600", "fit: of descent, for each layer">,
    Option<"maxKl", "max-kl", "double", "0.0", "auto: the mean KL divergence of the logits, in nats per token, that may be lost">,
  ];
  let dependentDialects = ["edge::EdgeDialect", "::mlir::linalg::LinalgDialect", "::mlir::tensor::TensorDialect"];
}

//===----------------------------------------------------------------------===//
// quantize: edge -> edge
//===----------------------------------------------------------------------===//

def QuantizeWeights : Pass<"edge-quantize-weights", "::mlir::ModuleOp"> {
  let summary = "round float weights of edge.linear and edge.embedding to 4 or 8 bits, with the scales of the least squared error";
  let description = [{
    `scheme` is for every linear layer of at least 32 inputs and 16 outputs, and for every table of at least that size that is read by ids which
    are an input of the model; `layers` (PATTERN=SCHEME, the last that fits counts) for those whose own or whose weight's name fits the
    pattern, whatever their size. `rounding` other than nearest needs samples, which only the compiler has (`--calibrate`). Input channels in a layer's attribute `edge.outliers` stay f16. What a scheme may say: passes/quantize/README.md. Each weight gets an entry in the module's
    `edge.ledger`, and a remark: bytes before and after, and the relative error.

    example: test/passes/quantize/quantize-weights.mlir
  }];
  let options = [
    Option<"scheme", "scheme", "std::string", "\"none\"", "how layers are quantized that no pattern fits: w4g32a8, w8a8, w4g128, ...">,
    ListOption<"layers", "layers", "std::string", "PATTERN=SCHEME: how the layers are quantized that a pattern fits">,
    Option<"rounding", "rounding", "std::string", "\"nearest\"", "nearest; weighted, the same with scales that look at the inputs; feedback (GPTQ)">,
  ];
  let dependentDialects = ["edge::EdgeDialect"];
}

def RotateResidual : Pass<"edge-rotate-residual", "::mlir::ModuleOp"> {
  let summary = "turn the residual stream by a Hadamard matrix, so that no channel of it is larger than the others";
  let description = [{
    Scales of the RMS norms that read the stream go into the linears behind them; then the weights of all that write to the stream and all
    that read it are multiplied by one orthogonal matrix (Ashkboos 2024). The model computes what it did, but for rounding. A remark says
    why where it does not apply.

    example: test/passes/quantize/rotate-residual.mlir
  }];
  let dependentDialects = ["edge::EdgeDialect"];
}

def ScaleChannels : Pass<"edge-scale-channels", "::mlir::ModuleOp"> {
  let summary = "make weights easier to round (AWQ) or activations (SmoothQuant) by a factor for each input channel, folded into what is in front";
  let description = [{
    The factors of the linears that read one value are searched on samples (`--calibrate`), multiplied into their weights, and divided out of
    the norm or the linear that the value comes from: README.md says through which ops. `scheme` and `layers` as in edge-quantize-weights.

    example: test/passes/quantize/scale-channels.mlir
  }];
  let options = [
    Option<"algorithm", "algorithm", "std::string", "\"awq\"", "awq or smoothquant">,
    Option<"scheme", "scheme", "std::string", "\"none\"", "as in edge-quantize-weights">,
    ListOption<"layers", "layers", "std::string", "as in edge-quantize-weights">,
  ];
  let dependentDialects = ["edge::EdgeDialect"];
}

def ChooseOutliers : Pass<"edge-choose-outliers", "::mlir::ModuleOp"> {
  let summary = "leave the input channels whose values are large on samples to floats (LLM.int8())";
  let description = [{
    Leaves `edge.outliers` at the layers that edge-quantize-weights quantizes with int8 activations: channels in which an input is at least
    `threshold`, or the share `share` of all channels with the largest inputs. Layers of one shape get the same number.

    example: test/passes/quantize/choose-outliers.mlir
  }];
  let options = [
    Option<"scheme", "scheme", "std::string", "\"none\"", "as in edge-quantize-weights">,
    ListOption<"layers", "layers", "std::string", "as in edge-quantize-weights">,
    Option<"threshold", "threshold", "double", "6", "the magnitude that makes a channel an outlier">,
    Option<"share", "share", "double", "0", "of the channels that are outliers; 0: by the threshold">,
  ];
  let dependentDialects = ["edge::EdgeDialect"];
}

def ChoosePrecision : Pass<"edge-choose-precision", "::mlir::ModuleOp"> {
  let summary = "choose the scheme of each weight so that a budget is kept: bytes, bits of a weight, or the divergence of the output";
  let description = [{
    What each scheme of `candidates` loses is measured on samples, a weight at a time: the Kullback-Leibler divergence of the model's output.
    From the smallest scheme for all, the step that saves most divergence for its bytes is taken again and again, until the budget is used
    up. Bytes are those of the packed weights; a divergence is measured once more with all choices. Leaves `edge.scheme` at the layers.

    example: test/passes/quantize/choose-precision.mlir
  }];
  let options = [
    ListOption<"candidates", "candidates", "std::string", "schemes, e.g. w4g32a8,w8a8">,
    Option<"bytes", "bytes", "int64_t", "0", "of all weights at most">,
    Option<"bitsPerWeight", "bits-per-weight", "double", "0", "of the quantized weights at most, on average">,
    Option<"divergence", "divergence", "double", "0", "nats at most, of all choices at once">,
  ];
  let dependentDialects = ["edge::EdgeDialect"];
}

def QuantizeCache : Pass<"edge-quantize-cache", "::mlir::ModuleOp"> {
  let summary = "keep KV caches as f32, f16, int8 or int4 instead of what the model has";
  let description = [{
    Changes states that an edge.append fills and edge.attention alone reads. int8: a scale for each head and token; int4: keys by channel,
    values by token, recent tokens in f16 (dialects/edge/Cache.h). Each cache gets an entry in the module's `edge.ledger`, and a remark.

    example: test/passes/quantize/quantize-cache.mlir
  }];
  let options = [Option<"type", "type", "std::string", "\"int8\"", "f32, f16, int8 or int4">];
  let dependentDialects = ["edge::EdgeDialect"];
}

//===----------------------------------------------------------------------===//
// earlyexit: edge -> edge
//===----------------------------------------------------------------------===//

def EarlyExit : Pass<"edge-early-exit", "::mlir::ModuleOp"> {
  let summary = "let a call end after a layer, if the model is sure enough there of what it would say";
  let description = [{
    After each of `layers` the function `main` gets the head of the model on that layer's hidden state, its confidence, and an `edge.exit`.
    Layers are found through the residual stream (passes/earlyexit/Layers.h). Where there is a cache, the hidden state is kept, and the
    layers behind compute the keys and values of positions that skipped them before they write their own. What the options mean, and
    why so: passes/earlyexit/README.md.

    example: test/passes/earlyexit/early-exit.mlir
  }];
  let options = [
    Option<"layers", "layers", "std::string", "\"\"", "the layers after which a call may end, counted from 1: 4,8; or auto">,
    Option<"threshold", "threshold", "double", "-1", "the least confidence with which it does; below 0: 0.9, or what is found on samples">,
    Option<"agreement", "agreement", "double", "-1", "the share of early ends that shall be as the whole model would have it; below 0: 0.99">,
    Option<"map", "map", "std::string", "\"\"", "what the head sees: none (the hidden state), affine (fitted on samples), empty: affine if there are samples">,
    Option<"confidence", "confidence", "std::string", "\"margin\"", "margin, entropy or state">,
    Option<"verify", "verify", "bool", "false", "keep what is needed to verify tokens that ended early">,
  ];
  let dependentDialects = ["edge::EdgeDialect", "::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect",
                           "::mlir::tensor::TensorDialect"];
}

//===----------------------------------------------------------------------===//
// lower: edge -> kernels -> plan -> LLVM
//===----------------------------------------------------------------------===//

def SpecializeEntries : Pass<"edge-specialize-entries", "::mlir::ModuleOp"> {
  let summary = "give a model with a KV cache the entries prefill (any number of tokens), decode (one) and score (all logits)";
  let description = [{
    The function `main` of a stateful model becomes `prefill`, where outputs `[..., tokens, n]` of a linear layer (the logits) are computed
    for the last token alone; a copy with the number of tokens fixed to 1 becomes `decode`; one that leaves all as it was becomes `score`, if
    `prefill` is not that already. Other models keep `main`.

    example: test/passes/lower/specialize-entries.mlir
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::linalg::LinalgDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::tensor::TensorDialect"];
}

def FuseElementwise : Pass<"edge-fuse-elementwise", "::mlir::func::FuncOp"> {
  let summary = "fuse chains of elementwise linalg ops";
  let description = [{
    A chain becomes one linalg.generic, into a reduction too. What has several readers stays, and so does what would be computed for each
    element of a row that it is repeated along.

    example: test/passes/lower/fuse-elementwise.mlir
  }];
}

def PackWeights : Pass<"edge-pack-weights", "::mlir::ModuleOp"> {
  let summary = "repack the weights of edge.linear into the panels that the matrix kernels read";
  let description = [{
    Each weight once, however often it is used; an edge.embedding whose table is also the weight of a linear (a tied head) reads the
    panels, too. Quantized weights and tables get the panels of the architecture in edge.target. Large results lie in mappings over unlinked files in the folder for temporary files (TMPDIR).

    example: test/passes/lower/pack-weights.mlir
  }];
  let dependentDialects = ["edge::EdgeDialect"];
}

def FuseEpilogues : Pass<"edge-fuse-epilogues", "::mlir::func::FuncOp"> {
  let summary = "move the elementwise work after an edge.linear into its epilogue";
  let description = [{
    Takes in a linalg.generic that is the only reader of the linear and reads other tensors element by element or channel by
    channel: bias, activation, gate, residual. Runs after chains are one generic.

    example: test/passes/lower/fuse-epilogues.mlir
  }];
  let dependentDialects = ["edge::EdgeDialect", "::mlir::arith::ArithDialect"];
}

def LowerLayers : Pass<"edge-lower-layers", "::mlir::func::FuncOp"> {
  let summary = "turn edge layer ops (linear, attention, norms, ...) into kernels for the module's target";
  let description = [{
    Each op becomes an edge.kernel whose tasks divide its result; which micro-kernel of kernels/kernels.def computes a linear is decided by
    edge.target, and its epilogue is applied to whole vectors.

    example: test/passes/lower/lower-layers.mlir
  }];
  let dependentDialects = ["edge::EdgeDialect", "::mlir::LLVM::LLVMDialect", "::mlir::arith::ArithDialect", "::mlir::math::MathDialect",
                           "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect", "::mlir::vector::VectorDialect",
                           "::mlir::affine::AffineDialect"];
}

def LowerGenerics : Pass<"edge-lower-generics", "::mlir::func::FuncOp"> {
  let summary = "turn linalg.generic on tensors into kernels";
  let description = [{
    Loops, the outer ones spread over tasks of about 16384 elements; where all operands are read in one order, a single loop.

    example: test/passes/lower/lower-generics.mlir
  }];
  let dependentDialects = ["edge::EdgeDialect", "::mlir::arith::ArithDialect", "::mlir::memref::MemRefDialect",
                           "::mlir::scf::SCFDialect", "::mlir::LLVM::LLVMDialect"];
}

def PlanMemory : Pass<"edge-plan-memory", "::mlir::ModuleOp"> {
  let summary = "outline kernels, give every buffer its place, and state it all as a plan.model";
  let description = [{
    Each function becomes a plan.entry with its steps; each kernel body a function NAME_i.task, one for all equal bodies.

    example: test/passes/lower/plan-memory.mlir
  }];
  let dependentDialects = ["plan::PlanDialect", "::mlir::LLVM::LLVMDialect", "::mlir::func::FuncDialect", "::mlir::arith::ArithDialect",
                           "::mlir::memref::MemRefDialect", "::mlir::scf::SCFDialect"];
}

def EmitEntries : Pass<"edge-emit-entries", "::mlir::ModuleOp"> {
  let summary = "turn the steps of each plan.entry into a constant table and a function that runs it";
  let description = [{
    The function is of type edgecc_entry. What grows with the number of layers is the table alone: a word per step and buffer.

    example: test/passes/lower/emit-entries.mlir
  }];
  let dependentDialects = ["plan::PlanDialect", "::mlir::LLVM::LLVMDialect", "::mlir::func::FuncDialect", "::mlir::arith::ArithDialect",
                           "::mlir::scf::SCFDialect"];
}

def ExpandMath : Pass<"edge-expand-math"> {
  let summary = "replace mathematical functions by polynomials: generated code has no libm";
  let description = [{
    exp, tanh, erf, log and the like by MLIR's own approximations, in f32 (narrower types are widened around them); sin and cos by a
    three-step Cody-Waite reduction, since rotary embeddings take the sine of positions in the thousands.

    example: test/passes/lower/expand-math.mlir
  }];
  let dependentDialects = ["::mlir::arith::ArithDialect", "::mlir::math::MathDialect", "::mlir::vector::VectorDialect", "::mlir::scf::SCFDialect"];
}

def StoreBf16AsBits : Pass<"edge-store-bf16-as-bits"> {
  let summary = "store bf16 values as i16, so that no target narrows them by a library call";
  let description = [{
    Each llvm.store of a bf16, or of a vector of them, stores the integers of the same bits.

    example: test/passes/lower/store-bf16-as-bits.mlir
  }];
  let dependentDialects = ["::mlir::LLVM::LLVMDialect"];
}

#endif

//===- EdgeOps.td - What a transformer computes -----------------------------===//
//
// Conventions (rationale: dialects/README.md)
// - A dynamic size is an expression of the module's symbols (`edge.symbols`). It stands in the tensor type itself, as an
//   affine map in the encoding: `tensor<?x?x384xf32, affine_map<()[s0, s1] -> (s0, s1, 384)>>`. Symbol i is entry i of `edge.symbols`.
// - Weights are `edge.weight`: a resource over a mapped file, never a dense attribute.
// - Elementwise maths, reductions, gathers and copies are `linalg.generic`; only what is worth a kernel of its own is an op here.
// - bool tensors are `i1`; integers are signless here, their signedness is in the op that cares.
//
//===----------------------------------------------------------------------===//
#ifndef EDGE_OPS
#define EDGE_OPS
include "mlir/IR/AttrTypeBase.td"
include "mlir/IR/BuiltinAttributeInterfaces.td"
include "mlir/IR/EnumAttr.td"
include "mlir/IR/OpBase.td"
include "mlir/Interfaces/SideEffectInterfaces.td"

def Edge_Dialect : Dialect {
  let name = "edge";
  let cppNamespace = "::edgecc::edge";
  let summary = "What a transformer computes";
  let useDefaultAttributePrinterParser = 1;
  let extraClassDeclaration = [{
    /// Module attribute: array of #edge.symbol, in the order of the symbols in all affine maps.
    static constexpr llvm::StringLiteral kSymbolsAttr = "edge.symbols";
    /// Module attribute: #edge.target.
    static constexpr llvm::StringLiteral kTargetAttr = "edge.target";
    /// Module attribute: array of dictionaries, what each lossy pass did to each weight (passes/quantize/Ledger.h).
    static constexpr llvm::StringLiteral kLedgerAttr = "edge.ledger";
    /// Attribute of a linear or embedding with a float weight: array<i32>, input channels that edge-quantize-weights leaves floats.
    static constexpr llvm::StringLiteral kOutliersAttr = "edge.outliers";
    /// Module attributes: array of #edge.exit_point, in order, and the number of layers there would be without (passes/earlyexit).
    static constexpr llvm::StringLiteral kExitsAttr = "edge.exits";
    static constexpr llvm::StringLiteral kLayersAttr = "edge.layers";
    /// Function attributes: the entry begins after exit i; the entry does nothing but fill the caches of skipped layers.
    static constexpr llvm::StringLiteral kResumesAttr = "edge.resumes"; // I64Attr
    static constexpr llvm::StringLiteral kFillsAttr = "edge.fills";     // UnitAttr
    /// Function argument and result attributes.
    static constexpr llvm::StringLiteral kNameAttr = "edge.name";       // StringAttr
    static constexpr llvm::StringLiteral kElementAttr = "edge.element"; // StringAttr: the ElementType of runtime/schema/model.fbs
    static constexpr llvm::StringLiteral kStateAttr = "edge.state";     // I64Attr: this argument (result) is state i, updated in place
  }];
}

def Edge_SymbolRole : I32EnumAttr<"SymbolRole", "who gives a symbol its value", [
    I32EnumAttrCase<"Free", 0, "free">,          // the shapes of the inputs
    I32EnumAttrCase<"Position", 1, "position">,  // the session: positions held before the call
    I32EnumAttrCase<"Capacity", 2, "capacity">,  // whoever opens the session: its context length
    I32EnumAttrCase<"Pending", 3, "pending">]> {  // the session: positions that the layers after an exit have not seen yet
  let cppNamespace = "::edgecc::edge";
}

def Edge_SymbolAttr : AttrDef<Edge_Dialect, "Symbol"> {
  let mnemonic = "symbol";
  let summary = "a named dimension with inclusive bounds";
  let parameters = (ins "::mlir::StringAttr":$name, "int64_t":$min, "int64_t":$max, EnumParameter<Edge_SymbolRole>:$role);
  let assemblyFormat = "`<` $name `,` $min `,` $max `,` $role `>`";
}

def Edge_TargetAttr : AttrDef<Edge_Dialect, "Target"> {
  let mnemonic = "target";
  let summary = "the CPU variant that this module is lowered for (module attribute edge.target)";
  let description = [{arch is "x86_64" or "aarch64"; features are those of compiler/codegen/targets.def, e.g. "avx2", "avx512", "dotprod", "i8mm", "fp16".}];
  let parameters = (ins "::mlir::StringAttr":$arch, OptionalArrayRefParameter<"::mlir::StringAttr">:$features);
  let assemblyFormat = "`<` $arch (`,` `[` $features^ `]`)? `>`";
  let extraClassDeclaration = [{
    bool has(llvm::StringRef feature) const {
      return llvm::any_of(getFeatures(), [&](::mlir::StringAttr it) { return it.getValue() == feature; });
    }
  }];
}

def Edge_ExitConfidence : I32EnumAttr<"ExitConfidence", "how sure a model is of what it would say at an exit, from 0 to 1", [
    I32EnumAttrCase<"Margin", 0, "margin">,   // the likeliest answer's probability less the next one's
    I32EnumAttrCase<"Entropy", 1, "entropy">, // 1 - entropy / log(answers)
    I32EnumAttrCase<"State", 2, "state">]> {  // the cosine of the hidden states before and after the last layer
  let cppNamespace = "::edgecc::edge";
}

def Edge_ExitPointAttr : AttrDef<Edge_Dialect, "ExitPoint"> {
  let mnemonic = "exit_point";
  let summary = "a place where a call may end: after `layer` layers, if the confidence is at least the threshold";
  let description = [{`pending` is the symbol for how many positions the layers behind have not seen; -1 in a model without a cache.}];
  let parameters = (ins "int64_t":$layer, "::mlir::FloatAttr":$threshold, EnumParameter<Edge_ExitConfidence>:$confidence,
                        "int64_t":$pending);
  let assemblyFormat = "`<` struct(params) `>`";
}

class Edge_Op<string mnemonic, list<Trait> traits = []> : Op<Edge_Dialect, mnemonic, traits>;

//===----------------------------------------------------------------------===//
// Sizes, weights, views
//===----------------------------------------------------------------------===//

def Edge_DimOp : Edge_Op<"dim", [Pure]> {
  let summary = "the value of a symbol in this call";
  let arguments = (ins I64Attr:$symbol);
  let results = (outs Index:$result);
  let assemblyFormat = "$symbol attr-dict";
}

def Edge_WeightOp : Edge_Op<"weight", [Pure]> {
  let summary = "a constant that lives in the weight store";
  let arguments = (ins StrAttr:$name, ElementsAttr:$value);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$name attr-dict `:` type($result)";
}

def Edge_ReshapeOp : Edge_Op<"reshape", [Pure]> {
  let summary = "the same elements in the same order with another shape; never a copy";
  let description = [{
    - constraint reshape_c1: the element types agree
    - constraint reshape_c2: the numbers of elements are equal, or may be for some values of the symbols
  }];
  let arguments = (ins AnyRankedTensor:$input);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
  let hasFolder = 1;
}

//===----------------------------------------------------------------------===//
// Layers
//===----------------------------------------------------------------------===//

def Edge_WeightLayout : I32EnumAttr<"WeightLayout", "how a linear weight lies in memory", [
    I32EnumAttrCase<"NK", 0, "nk">,           // [n, k]: a row per output channel
    I32EnumAttrCase<"KN", 1, "kn">,           // [k, n]
    I32EnumAttrCase<"Panels", 2, "panels">]> { // [ceil(n / 16), k, 16]: what the matrix kernels read; zero-filled
  let cppNamespace = "::edgecc::edge";
}

def Edge_ActivationPrecision : I32EnumAttr<"ActivationPrecision", "what the input of a quantized linear is multiplied as", [
    I32EnumAttrCase<"Float", 0, "float">,   // as it is: only the weights are quantized
    I32EnumAttrCase<"Token", 1, "token">,   // int8, one scale per row of the input
    I32EnumAttrCase<"Group", 2, "group">]> { // int8, one scale per row and group of weights
  let cppNamespace = "::edgecc::edge";
}

def Edge_QuantizationAttr : AttrDef<Edge_Dialect, "Quantization"> {
  let mnemonic = "quantization";
  let summary = "how the numbers of a quantized weight are to be read";
  let description = [{
    w[n, k] = scale[n, g] * (q[n, k] - zero[n, g]) with g = k / group and q in [0, 2^bits).
    `group` 0: one scale per channel. Scales are of type `scale`, f16 or f32. Without `zeros` all are 2^(bits - 1).
  }];
  let parameters = (ins "int64_t":$bits, "int64_t":$group, "::mlir::Type":$scale, DefaultValuedParameter<"bool", "false">:$zeros,
                        DefaultValuedParameter<"::edgecc::edge::ActivationPrecision", "ActivationPrecision::Float">:$activations);
  let assemblyFormat = "`<` struct(params) `>`";
}

def Edge_CacheForm : I32EnumAttr<"CacheForm", "what shares a scale in a quantized cache", [
    I32EnumAttrCase<"Token", 0, "token">,       // numbers of one token
    I32EnumAttrCase<"Channel", 1, "channel">]> { // numbers of one channel, over a group of tokens
  let cppNamespace = "::edgecc::edge";
}

def Edge_CacheAttr : AttrDef<Edge_Dialect, "Cache"> {
  let mnemonic = "cache";
  let summary = "how a quantized cache of heads of `dim` numbers is to be read: bits 8 by token, 4 by token or channel";
  let description = [{Such a cache is several states, numbers and parts: dialects/edge/Cache.h.}];
  let parameters = (ins "int64_t":$bits, "int64_t":$dim, DefaultValuedParameter<"::edgecc::edge::CacheForm", "CacheForm::Token">:$form);
  let assemblyFormat = "`<` struct(params) `>`";
}

def Edge_LinearOp : Edge_Op<"linear", [Pure, AttrSizedOperandSegments, SingleBlockImplicitTerminator<"YieldOp">]> {
  let summary = "y[..., n] = epilogue(sum over k of x[..., k] * w[n, k], extras...)";
  let description = [{
    Accumulates in f32 whatever the types of input and weight are. The epilogue is a region on one element: its arguments
    are the f32 sum and one element of each extra; it yields the result's element. Without a region the sum is truncated
    to the result's type.

    - input `[..., k]`; result `[..., n]`; weight `[n, k]`, `[k, n]` or panels, see `layout`
    - quantized weight, layout nk: `[n, groups, bytes of a group]` i8, a 4-bit number in each nibble, low one first; scales `[n, groups]` of
      the quantization's type; zeros, optional, `[n, groups]`, i8 read unsigned, or of the scales' type. k is filled up to whole groups.
    - quantized weight, layout panels: opaque bytes `[ceil(n / 16), bytes of a panel]` i8 with scales and zeros inside
      (dialects/edge/Quantization.h)
    - outliers: some input channels are multiplied as floats, whatever the quantization says (Dettmers 2022). Their indices `[count]` i32 are
      constant and ascend; their weights are `[n, count]` f16, with panels `[ceil(n / 16), count, 16]`. The numbers of these channels mean
      zero, and activations are quantized without them.
    - constraint linear_c1: the weight agrees with k and n under the layout
    - constraint linear_c2: an extra has the shape `[n]` or the result's shape
    - constraint linear_c3: the epilogue takes f32 and the extras' element types
    - constraint linear_c4: a quantized weight is of 4 or 8 bits, in groups of a multiple of 16 or one per channel, with scales f16 or f32
    - constraint linear_c5: scales and zeros are there if the quantization and the layout want them, and only then
    - constraint linear_c6: outliers have indices and weights as said above, beside a quantized weight
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$weight, Optional<AnyRankedTensor>:$scales, Optional<AnyRankedTensor>:$zeros,
                       Optional<AnyRankedTensor>:$outliers, Optional<AnyRankedTensor>:$outlier_weights,
                       Variadic<AnyRankedTensor>:$extras, DefaultValuedAttr<Edge_WeightLayout, "WeightLayout::NK">:$layout,
                       OptionalAttr<Edge_QuantizationAttr>:$quantization);
  let results = (outs AnyRankedTensor:$result);
  let regions = (region MaxSizedRegion<1>:$epilogue);
  let assemblyFormat = [{
    $input `,` $weight (`scales` `(` $scales^ `:` type($scales) `)`)? (`zeros` `(` $zeros^ `:` type($zeros) `)`)?
    (`outliers` `(` $outliers^ `,` $outlier_weights `:` type($outliers) `,` type($outlier_weights) `)`)?
    (`extras` `(` $extras^ `:` type($extras) `)`)? attr-dict
    `:` type($input) `,` type($weight) `->` type($result) ($epilogue^)?
  }];
  let builders = [OpBuilder<(ins "::mlir::Type":$result, "::mlir::Value":$input, "::mlir::Value":$weight,
                                 CArg<"::mlir::ValueRange", "{}">:$extras, CArg<"WeightLayout", "WeightLayout::NK">:$layout), [{
    build($_builder, $_state, result, input, weight, /*scales=*/{}, /*zeros=*/{}, /*outliers=*/{}, /*outlier_weights=*/{}, extras, layout, /*quantization=*/{});
  }]>];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    int64_t inputChannels() { return getInput().getType().getShape().back(); }
    int64_t outputChannels() { return getResult().getType().getShape().back(); }
  }];
}

def Edge_AttentionOp : Edge_Op<"attention", [Pure, AttrSizedOperandSegments]> {
  let summary = "streaming scaled dot-product attention over grouped heads";
  let description = [{
    `softmax(cap(scale * q k^T) + mask) v`, head h of q reading KV head `h / (heads / kv_heads)`; scores and sums in f32.

    Each of query, key/value and result is `[batch, tokens, heads, dim]`, or `[batch, heads, tokens, dim]` where the
    `..._heads_first` flag is set. Key and value may be longer than `length` (a cache of fixed capacity): positions
    `[length, ...)` are not read. Query i stands at position `offset + i`:
    causal: key j is seen if j <= offset + i; window w > 0: only if offset + i - j < w.
    `softcap` c > 0: cap(x) = c * tanh(x / c). `mask` is added (float) or selects (i1), and broadcasts to `[batch, heads, tokens, length]`.
    Keys and values of a quantized cache are its numbers, and its other states the parts (dialects/edge/Cache.h).

    - constraint attention_c1: heads is a multiple of kv_heads
    - constraint attention_c2: query and key agree in head_dim
    - constraint attention_c3: all of query, key, value and result have rank 4
    - constraint attention_c4: keys and values of a quantized cache stand heads first, in the states that the cache has
  }];
  let arguments = (ins AnyRankedTensor:$query, AnyRankedTensor:$key, AnyRankedTensor:$value, Optional<AnyRankedTensor>:$mask,
                       Variadic<AnyRankedTensor>:$key_parts, Variadic<AnyRankedTensor>:$value_parts, F32Attr:$scale, AffineMapAttr:$length, AffineMapAttr:$offset, DefaultValuedAttr<BoolAttr, "false">:$causal,
                       DefaultValuedAttr<I64Attr, "0">:$window, DefaultValuedAttr<F32Attr, "0.0f">:$softcap,
                       UnitAttr:$query_heads_first, UnitAttr:$key_heads_first, UnitAttr:$result_heads_first,
                       OptionalAttr<Edge_CacheAttr>:$key_cache, OptionalAttr<Edge_CacheAttr>:$value_cache);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $query `,` $key `,` $value (`mask` `(` $mask^ `:` type($mask) `)`)? (`key_parts` `(` $key_parts^ `:` type($key_parts) `)`)?
    (`value_parts` `(` $value_parts^ `:` type($value_parts) `)`)? attr-dict
    `:` type($query) `,` type($key) `,` type($value) `->` type($result)
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    int64_t heads() { return getQuery().getType().getDimSize(getQueryHeadsFirst() ? 1 : 2); }
    int64_t kvHeads() { return getKey().getType().getDimSize(getKeyHeadsFirst() ? 1 : 2); }
    int64_t headDim() { return getQuery().getType().getDimSize(3); }
    int64_t valueDim() { return getResult().getType().getDimSize(3); }
  }];
}

def Edge_RopeOp : Edge_Op<"rope", [Pure, AllTypesMatch<["cos", "sin"]>]> {
  let summary = "rotary position embedding";
  let description = [{
    Rotates the first `2 * half` of each head's elements, half = the last size of cos: pairs (i, i + half), or (2i, 2i + 1) if
    `interleaved`; the rest passes. input `[batch, tokens, heads, dim]` or heads first; cos and sin `[batch or 1, tokens, half]`.
    - constraint rope_c1: 2 * half is at most dim
  }];
  let arguments = (ins AnyRankedTensor:$input, AnyRankedTensor:$cos, AnyRankedTensor:$sin, UnitAttr:$interleaved, UnitAttr:$heads_first);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input `,` $cos `,` $sin attr-dict `:` type($input) `,` type($cos) `->` type($result)";
  let hasVerifier = 1;
}

def Edge_RmsNormOp : Edge_Op<"rms_norm", [Pure]> {
  let summary = "x / sqrt(mean(x^2) + epsilon) * scale, over the last dimension, in f32";
  let arguments = (ins AnyRankedTensor:$input, Optional<AnyRankedTensor>:$scale, F32Attr:$epsilon);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input (`,` $scale^ `:` type($scale))? attr-dict `:` type($input) `->` type($result)";
}

def Edge_LayerNormOp : Edge_Op<"layer_norm", [Pure, AttrSizedOperandSegments]> {
  let summary = "(x - mean) / sqrt(variance + epsilon) * scale + bias, over the last dimension, in f32";
  let arguments = (ins AnyRankedTensor:$input, Optional<AnyRankedTensor>:$scale, Optional<AnyRankedTensor>:$bias, F32Attr:$epsilon);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $input (`scale` `(` $scale^ `:` type($scale) `)`)? (`bias` `(` $bias^ `:` type($bias) `)`)? attr-dict `:` type($input) `->` type($result)
  }];
}

def Edge_SoftmaxOp : Edge_Op<"softmax", [Pure]> {
  let summary = "softmax or its logarithm over the last dimension, in f32";
  let arguments = (ins AnyRankedTensor:$input, UnitAttr:$log);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = "$input attr-dict `:` type($input) `->` type($result)";
}

def Edge_EmbeddingOp : Edge_Op<"embedding", [Pure, AttrSizedOperandSegments]> {
  let summary = "rows of a table: table [rows, width], ids [...] -> [..., width]";
  let description = [{
    An id outside [-rows, rows) reads row 0; a negative id counts from the end, as in ONNX Gather. A quantized table is what the weight of
    an `edge.linear` is, with the table's rows as output channels.
    - constraint embedding_c1: a quantized table agrees with the width and with its scales, zeros and outliers
  }];
  let arguments = (ins AnyRankedTensor:$ids, AnyRankedTensor:$table, Optional<AnyRankedTensor>:$scales, Optional<AnyRankedTensor>:$zeros,
                       Optional<AnyRankedTensor>:$outliers, Optional<AnyRankedTensor>:$outlier_weights,
                       DefaultValuedAttr<Edge_WeightLayout, "WeightLayout::NK">:$layout, OptionalAttr<Edge_QuantizationAttr>:$quantization);
  let results = (outs AnyRankedTensor:$result);
  let assemblyFormat = [{
    $ids `,` $table (`scales` `(` $scales^ `:` type($scales) `)`)? (`zeros` `(` $zeros^ `:` type($zeros) `)`)?
    (`outliers` `(` $outliers^ `,` $outlier_weights `:` type($outliers) `,` type($outlier_weights) `)`)? attr-dict
    `:` type($ids) `,` type($table) `->` type($result)
  }];
  let builders = [OpBuilder<(ins "::mlir::Type":$result, "::mlir::Value":$ids, "::mlir::Value":$table), [{
    build($_builder, $_state, result, ids, table, /*scales=*/{}, /*zeros=*/{}, /*outliers=*/{}, /*outlier_weights=*/{}, WeightLayout::NK, /*quantization=*/{});
  }]>];
  let hasVerifier = 1;
}

def Edge_AppendOp : Edge_Op<"append", [Pure]> {
  let summary = "writes rows into a state, in place";
  let description = [{
    result = state, except `[..., position + i, :]` of the second to last dimension = rows `[..., i, :]`. The state operand must not be
    used afterwards: the plan gives operand and result the same memory.
    state `[batch, heads, capacity, dim]`, rows `[batch, heads, tokens, dim]`, or `[batch, tokens, heads, dim]` unless `rows_heads_first`.
    A quantized cache is several states: the numbers, and the parts with results of their own (dialects/edge/Cache.h).

    - constraint append_c1: state and rows agree in heads and head_dim, and the state has room for the batch
    - constraint append_c2: a quantized cache has the states that its `cache` says, and a result for each
  }];
  let arguments = (ins AnyRankedTensor:$state, AnyRankedTensor:$rows, Variadic<AnyRankedTensor>:$parts, AffineMapAttr:$position,
                       UnitAttr:$rows_heads_first, OptionalAttr<Edge_CacheAttr>:$cache);
  let results = (outs AnyRankedTensor:$result, Variadic<AnyRankedTensor>:$new_parts);
  let assemblyFormat = [{
    $state `,` $rows (`parts` `(` $parts^ `:` type($parts) `)`)? `at` $position attr-dict
    `:` type($state) `,` type($rows) `->` type($result) (`,` type($new_parts)^)?
  }];
  let builders = [OpBuilder<(ins "::mlir::Type":$result, "::mlir::Value":$state, "::mlir::Value":$rows, "::mlir::AffineMap":$position), [{
    build($_builder, $_state, result, /*new_parts=*/::mlir::TypeRange(), state, rows, /*parts=*/::mlir::ValueRange(),
          ::mlir::AffineMapAttr::get(position), /*rows_heads_first=*/::mlir::UnitAttr(), /*cache=*/CacheAttr());
  }]>];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Exits: where a call may end before the last layer
//===----------------------------------------------------------------------===//

def Edge_ConfidenceOp : Edge_Op<"confidence", [Pure]> {
  let summary = "how sure the rows of `input` are, the least sure one counts: tensor<1xf32> in [0, 1]";
  let description = [{
    margin and entropy: of the softmax over the last dimension. state: the cosine of each row of `input` and of `before`, not below 0.
    What is not a number is not sure at all: 0.
    - constraint confidence_c1: `before` is there for state alone, and of the input's type
  }];
  let arguments = (ins Edge_ExitConfidence:$kind, AnyRankedTensor:$input, Optional<AnyRankedTensor>:$before);
  let results = (outs RankedTensorOf<[F32]>:$result);
  let assemblyFormat = "$kind `of` $input (`after` $before^ `:` type($before))? attr-dict `:` type($input) `->` type($result)";
  let hasVerifier = 1;
}

def Edge_ExitOp : Edge_Op<"exit", [AttrSizedOperandSegments]> {
  let summary = "ends the call with these outputs if the confidence is at least the threshold that the call has for this exit";
  let description = [{
    What stands before it in the block is executed, what follows only if the call goes on. States are left as they are here. `kept` is the
    state in which the hidden state of this position has been written for the layers that are skipped.
    - constraint exit_c1: the confidence is tensor<1xf32>
    - constraint exit_c2: there is an output, of the same type, for each result of the function that is no state
  }];
  let arguments = (ins I64Attr:$number, AnyRankedTensor:$confidence, Optional<AnyRankedTensor>:$kept, Variadic<AnyRankedTensor>:$outputs);
  let assemblyFormat = [{
    $number `if` $confidence (`keeps` $kept^ `:` type($kept))? `gives` $outputs attr-dict `:` type($confidence) `->` type($outputs)
  }];
  let hasVerifier = 1;
}

//===----------------------------------------------------------------------===//
// Kernels: the last form before LLVM
//===----------------------------------------------------------------------===//

def Edge_KernelOp : Edge_Op<"kernel", [Pure, IsolatedFromAbove, AttrSizedOperandSegments, SingleBlockImplicitTerminator<"YieldOp">]> {
  let summary = "one parallel step: tensors outside, buffers inside";
  let description = [{
    The body is run once for each task in `[0, tasks)`, in any order and on any thread. Its block arguments are the task, then a
    contiguous memref for each of: ins, inouts, results that are no inouts. Result i < |inouts| is inout i after the step.
    The body may use `edge.dim`; it captures nothing. Equal bodies become one function, however many layers use them.
    A bool is a byte (i8, 0 or 1) inside.

    - constraint kernel_c1: the block arguments are as said
  }];
  let arguments = (ins StrAttr:$name, AffineMapAttr:$tasks, Variadic<AnyRankedTensor>:$ins, Variadic<AnyRankedTensor>:$inouts);
  let results = (outs Variadic<AnyRankedTensor>:$outputs);
  let regions = (region SizedRegion<1>:$body);
  let assemblyFormat = [{
    $name `tasks` $tasks (`ins` `(` $ins^ `:` type($ins) `)`)? (`inouts` `(` $inouts^ `:` type($inouts) `)`)? (`->` type($outputs)^)?
    attr-dict-with-keyword $body
  }];
  let hasVerifier = 1;
  let extraClassDeclaration = [{
    ::mlir::BlockArgument taskArg() { return getBody().front().getArgument(0); }
    ::mlir::Block::BlockArgListType bufferArgs() { return getBody().front().getArguments().drop_front(); }
  }];
}

def Edge_YieldOp : Edge_Op<"yield", [Pure, Terminator, ParentOneOf<["KernelOp", "LinearOp"]>]> {
  let summary = "ends a kernel's body (no operands) or a linear's epilogue (one)";
  let arguments = (ins Variadic<AnyType>:$values);
  let builders = [OpBuilder<(ins), [{ (void)$_state; }]>];
  let assemblyFormat = "($values^ `:` type($values))? attr-dict";
}
#endif

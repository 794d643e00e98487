//===- Raise.h - Layers found in what exporters wrote -----------------------===//
//
// Raising looks back: before the last node of a layer (the MatMul of attention, the Add of a rotation, the Mul of a norm) is
// converted, it is asked here whether the nodes behind it are that layer. What was converted on the way is then dead.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_NORMALIZE_RAISE_H
#define EDGECC_PASSES_NORMALIZE_RAISE_H

#include "passes/normalize/Converter.h"

namespace edgecc {

/// `rows` written behind what the cache `past` holds, in place. `past.stateValue` must be set. rows `[batch, heads, tokens,
/// dim]`, or
/// `[batch, tokens, heads, dim]`. The result is the cache afterwards, as a state with past + tokens positions.
TensorInfo appendToState(NodeContext &node, TensorInfo &past, mlir::Value rows, bool rowsHeadsFirst);

/// An edge.attention to be. Query, key, value: rank 4 each, key and value may be the buffers of caches.
struct AttentionParts {
  mlir::Value query, key, value;
  bool queryHeadsFirst = false, keyHeadsFirst = false, valueHeadsFirst = false;
  llvm::SmallVector<mlir::Value> masks; // each added or selecting, of rank 4 at most, broadcast to [batch, heads, tokens, length]
  double scale = 1;
  double softcap = 0;
  mlir::AffineExpr length; // positions of key and value
  mlir::AffineExpr offset; // position of query 0
  bool causal = false;
  int64_t window = 0;
};

/// Takes a mask into `parts`: as a flag if it is recognised by what it evaluates to, else as it is. The mask broadcasts from the
/// right to scores [..., queries, parts.length].
void addMask(NodeContext &node, AttentionParts &parts, mlir::Value mask, mlir::AffineExpr queries);
/// The first half of it: false if the mask is not recognised.
bool absorbMask(NodeContext &node, AttentionParts &parts, mlir::Value mask, mlir::AffineExpr queries);

/// The result is `[batch, tokens, heads, dim]`, or heads first.
mlir::Value buildAttention(NodeContext &node, AttentionParts parts, mlir::Type element, bool resultHeadsFirst);

/// edge.rope on `[batch, tokens, heads, dim]` or heads first; the result lies like the input. cos, sin: [batch or 1, tokens,
/// half].
mlir::Value buildRope(NodeContext &node, mlir::Value input, mlir::Value cos, mlir::Value sin, bool interleaved, bool headsFirst);

/// A cache, or what a node without one attends to, with the new rows behind it.
struct Cached {
  TensorInfo info;         // stateValue is set if this is a cache kept in place
  mlir::Value value;       // the buffer of the cache, or a tensor
  bool headsFirst = false; // [batch, heads, tokens, dim]
  mlir::AffineExpr length; // positions held now
  mlir::AffineExpr past;   // positions held before
};
/// `pastInput` (optional) of the node with `rows` behind it.
Cached extendCache(NodeContext &node, unsigned pastInput, mlir::Value rows, bool rowsHeadsFirst);
/// The same for a cache that holds keys and values together.
std::pair<Cached, Cached> extendPairedCache(NodeContext &node, TensorInfo &past, mlir::Value keys, mlir::Value values);
void setPresent(NodeContext &node, unsigned output, const Cached &cached);
/// Makes these what `parts` attends to.
void useCaches(AttentionParts &parts, const Cached &keys, const Cached &values);
/// A tensor of rank 4, and whether its heads come before its tokens.
using Heads = std::pair<mlir::Value, bool>;
/// Keys and values behind inputs `pastInput` and `pastInput` + 1, as what `parts` attends to and as outputs 1 and 2.
std::pair<Cached, Cached> extendCaches(NodeContext &node, AttentionParts &parts, unsigned pastInput, Heads key, Heads value);
/// `cache` with `rows` written along `axis`, for each batch element from position `first[batch]` (null: 0); what lies outside is
/// not written, unless it starts over (`isCircular`).
mlir::Value writeRows(NodeContext &node, mlir::Value cache, mlir::Value rows, mlir::Value first, int64_t axis, bool isCircular);
/// past `[batch, heads, tokens, dim]` and rows as one tensor.
mlir::Value concatTokens(NodeContext &node, mlir::Value past, mlir::Value rows, bool rowsHeadsFirst);

/// `[batch, tokens, heads * dim]` as `[batch, tokens, heads, dim]`; rank 4 is heads first and stays. Null if the sizes do not
/// fit.
mlir::Value headsOf(NodeContext &node, mlir::Value tensor, int64_t heads, bool &headsFirst);
/// counts [batch] -> i1 [batch, 1, 1, length]: key j is seen if j < counts[b] + added.
mlir::Value visibleKeys(NodeContext &node, mlir::Value counts, mlir::AffineExpr length, int64_t added);
/// ids [...], table [rows, width] -> [..., width].
mlir::Value gatherRows(NodeContext &node, mlir::Value ids, mlir::Value table);
/// Whether a node hands its first input on, but for rounding: Identity, Dropout, Cast from float to float.
bool handsOn(NodeContext &node, onnx::NodeOp op);
/// The node of ONNX's own domain that computes `value`, before those that hand it on; null for inputs and constants.
onnx::NodeOp makerOf(NodeContext &node, mlir::Value value);
/// Whether what follows turns [.., heads, tokens, dim] to tokens first.
bool isTransposedLater(mlir::Value onnxValue);

/// If `value` is `[a, b, c, d]` made by transposing `[a, c, b, d]`: replaces it by what was transposed.
bool undoHeadTranspose(mlir::Value &value);

/// Tries all that follow. Asked for each node before its row.
bool raise(NodeContext &node);

/// These set result 0 of the node and return true if the node ends such a layer; else they change nothing.
bool raiseAttention(NodeContext &node); // MatMul
bool raiseRope(NodeContext &node);      // Add, Concat, Reshape
bool raiseNorm(NodeContext &node);      // Mul, Div, Add, Sub
bool raiseCache(NodeContext &node);     // Concat

/// Remarks on layers that `raise` is for and that are still computed piece by piece.
void remarkOnUnraised(Converter &converter, mlir::func::FuncOp source, llvm::function_ref<bool(mlir::Value)> isComputed);

/// Replaces layers without a result, or that sum over nothing, by constants: kernels have no empty blocks.
void replaceEmptyLayers(mlir::func::FuncOp function);

} // namespace edgecc
#endif // EDGECC_PASSES_NORMALIZE_RAISE_H

//===- Signatures.cpp - What a node must have -------------------------------===//
//
// Rows read inputs, attributes and sizes without asking whether they are there: it is asked here, once, before. Numbers and types
// of inputs and kinds of attributes are ONNX's (Signatures.def); ranks and ranges are what the rows need, and are listed below.
// Axes and lengths of lists, which depend on a rank, are checked by the rows (NodeContext::axisAttr and friends).
//
//===----------------------------------------------------------------------===//
#include "passes/normalize/Converter.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
namespace edgecc {

namespace {

struct Signature {
  StringRef domain, op;
  int64_t since;
  unsigned least;  // inputs
  int64_t outputs; // at most
  StringRef inputs, attributes;
};

const Signature kSignatures[] = {
#define EDGECC_SIGNATURE(domain, op, since, least, outputs, inputs, attributes)                                                  \
  {domain, op, since, least, outputs, inputs, attributes},
#include "passes/normalize/Signatures.def"
#undef EDGECC_SIGNATURE
};

/// Ranks of the inputs, in order; the last one is that of all that follow. `2`: this rank; `2-4`, `1+`: one of these; `s`: one
/// element, of any rank; `*`: whatever. Integer attributes (lists: each number) and what they are at least; at most they are
/// 2^31.
struct Needs {
  StringRef domain, op, ranks, attributes;
};

const Needs kNeeds[] = {
    // clang-format off
    {"", "ArgMax", "1+", ""},
    {"", "ArgMin", "1+", ""},
    {"", "Attention", "3-4 3-4 3-4 2-4 4 4 1", "q_num_heads=0 kv_num_heads=0 qk_matmul_output_mode=0-3"},
    {"", "AveragePool", "3+", "kernel_shape=1 strides=1 dilations=1 pads=0"},
    {"", "BatchNormalization", "2+ 1", ""},
    {"", "Clip", "* s", ""},
    {"", "Compress", "* 1", ""},
    {"", "Concat", "1+", ""},
    {"", "ConstantOfShape", "1", ""},
    {"", "Conv", "3+ 3+ 1", "group=1 kernel_shape=1 strides=1 dilations=1 pads=0"},
    {"", "ConvInteger", "3+ 3+ *", "group=1 kernel_shape=1 strides=1 dilations=1 pads=0"},
    {"", "ConvTranspose", "3+ 3+ 1", "group=1 kernel_shape=1 strides=1 dilations=1 pads=0 output_padding=0 output_shape=0"},
    {"", "CumProd", "1+ s", ""},
    {"", "CumSum", "1+ s", ""},
    {"", "DepthToSpace", "4", "blocksize=1"},
    {"", "DequantizeLinear", "*", "block_size=0"},
    {"", "Dropout", "* s", ""},
    {"", "Expand", "* 1", ""},
    {"", "Gather", "1+ *", ""},
    {"", "GatherElements", "1+", ""},
    {"", "GatherND", "1+", "batch_dims=0"},
    {"", "Gemm", "2 2 0-2", ""},
    {"", "GlobalAveragePool", "2+", ""},
    {"", "GlobalLpPool", "2+", "p=1-64"},
    {"", "GlobalMaxPool", "2+", ""},
    {"", "GroupNormalization", "2+ 1", "num_groups=1"},
    {"", "Hardmax", "1+", ""},
    {"", "InstanceNormalization", "2+ 1", ""},
    {"", "LayerNormalization", "1+ *", ""},
    {"", "LogSoftmax", "1+", ""},
    {"", "LpNormalization", "1+", "p=1-64"},
    {"", "LpPool", "3+", "kernel_shape=1 strides=1 dilations=1 pads=0 p=1-64"},
    {"", "MatMul", "1+", ""},
    {"", "MatMulInteger", "1+ 1+ *", ""},
    {"", "MaxPool", "3+", "kernel_shape=1 strides=1 dilations=1 pads=0"},
    {"", "OneHot", "* s 1", ""},
    {"", "Pad", "* 1 s 1", ""},
    {"", "QLinearConv", "3+ * * 3+ * * * * 1", "group=1 kernel_shape=1 strides=1 dilations=1 pads=0"},
    {"", "QLinearMatMul", "1+ * * 1+ *", ""},
    {"", "QuantizeLinear", "*", "block_size=0"},
    {"", "RMSNormalization", "1+ *", ""},
    {"", "Range", "s", ""},
    {"", "Reshape", "* 1", ""},
    {"", "Resize", "* 1", ""},
    {"", "ReverseSequence", "2+ 1", ""},
    {"", "RotaryEmbedding", "3-4 2-3 2-3 2", "num_heads=0 rotary_embedding_dim=0"},
    {"", "Scatter", "1+", ""},
    {"", "ScatterElements", "1+", ""},
    {"", "ScatterND", "1+ 1+ *", ""},
    {"", "SimplifiedLayerNormalization", "1+ 1", ""},
    {"", "Slice", "1+ 1", ""},
    {"", "Softmax", "1+", ""},
    {"", "SpaceToDepth", "4", "blocksize=1"},
    {"", "Split", "1+ 1", "num_outputs=1 split=0"},
    {"", "Squeeze", "* 0-1", ""},
    {"", "TensorScatter", "2+ 2+ 1", ""},
    {"", "Tile", "* 1", ""},
    {"", "TopK", "1+ s", ""},
    {"", "Trilu", "2+ s", ""},
    {"", "Unsqueeze", "* 0-1", ""},
    {"", "Upsample", "* 1", ""},
    {"com.microsoft", "Attention", "3 2 1 1-4 5 4 s", "num_heads=1 qkv_hidden_sizes=1"},
    {"com.microsoft", "BiasGelu", "1+ 1", ""},
    {"com.microsoft", "EmbedLayerNormalization", "2 2 2 2 2 1 1 2 2", ""},
    {"com.microsoft", "FastGelu", "1+ 1", ""},
    {"com.microsoft", "FusedMatMul", "1+", ""},
    {"com.microsoft", "GatherBlockQuantized", "2+ * 2+", "block_size=16 bits=1"},
    {"com.microsoft", "GroupQueryAttention", "3 3 3 4 4 0-2 * 2 2 2 4 *", "num_heads=1 kv_num_heads=1"},
    {"com.microsoft", "LayerNormalization", "1+ *", ""},
    {"com.microsoft", "MatMulNBits", "1+ *", "K=1 N=1 block_size=16 bits=1"},
    {"com.microsoft", "MultiHeadAttention", "3-5 3-5 3-4 1 1-4 4 4 4", "num_heads=1"},
    {"com.microsoft", "RotaryEmbedding", "3-4 1-2 2 2", "num_heads=0 rotary_embedding_dim=0"},
    {"com.microsoft", "SimplifiedLayerNormalization", "1+ 1", ""},
    {"com.microsoft", "SkipLayerNormalization", "1+ 1+ 1", ""},
    {"com.microsoft", "SkipSimplifiedLayerNormalization", "1+ 1+ 1", ""},
    // clang-format on
};

/// The newest that is not newer than the node; of what is older than all, the first.
const Signature *signatureOf(StringRef domain, StringRef op, int64_t version) {
  const Signature *found = nullptr;
  for (const Signature &row : kSignatures)
    if (row.domain == domain && row.op == op && (!found || row.since <= version))
      found = &row;
  return found;
}

char kindOf(Type element) {
  if (element.isInteger(1))
    return 'b';
  if (isa<IntegerType>(element))
    return 'i';
  return isa<FloatType>(element) && element.getIntOrFloatBitWidth() >= 16 ? 'f' : 'n';
}

std::string textOf(StringRef kinds) {
  SmallVector<StringRef> names;
  for (auto [kind, name] : {std::pair('f', "floats"), {'n', "8-bit floats"}, {'i', "integers"}, {'b', "booleans"}})
    if (kinds.contains(kind))
      names.push_back(name);
  return llvm::join(names, " or ");
}

std::string textOf(Type type) {
  std::string text;
  llvm::raw_string_ostream(text) << type;
  return text;
}

/// Operators that take numbers of 4 bits where they are a weight's, or pass them on.
bool takesNibbles(StringRef op) {
  return llvm::is_contained({"DequantizeLinear", "QuantizeLinear", "GatherBlockQuantized", "MatMulNBits", "Identity", "Reshape",
                             "Transpose", "Squeeze", "Unsqueeze"},
                            op);
}

/// There are no instructions for elements that are narrower than a byte, or floats of one.
LogicalResult checkWidth(NodeContext &node, unsigned i) {
  Type element = node.element(i);
  if (kindOf(element) == 'n')
    return node.unsupported("input " + Twine(i) + " has elements of type " + textOf(element) +
                            "; narrow floats are not supported: export in f16, and quantize with --quant");
  if (isa<IntegerType>(element) && !element.isInteger(1) && element.getIntOrFloatBitWidth() < 8 && !takesNibbles(node.op()))
    return node.unsupported("input " + Twine(i) + " has elements of type " + textOf(element) +
                            "; 4-bit integers cannot be computed with: keep them in weights of DequantizeLinear or "
                            "com.microsoft.MatMulNBits, or export in int8");
  return success();
}

LogicalResult checkInputs(NodeContext &node, const Signature &signature) {
  SmallVector<StringRef> formals;
  signature.inputs.split(formals, ' ', -1, /*KeepEmpty=*/false);
  bool isVariadic = !formals.empty() && formals.back().ends_with("*");
  if (node.inputs() < signature.least || (!isVariadic && node.inputs() > formals.size()))
    return node.unsupported("has " + Twine(node.inputs()) + " inputs; the operator takes " +
                            (isVariadic                          ? "at least " + Twine(signature.least)
                             : signature.least == formals.size() ? Twine(signature.least)
                                                                 : Twine(signature.least) + " to " + Twine(formals.size())));
  // By the number of the type: the first input that has it.
  llvm::SmallDenseMap<int, unsigned> first;
  for (unsigned i = 0; i < node.inputs(); ++i) {
    StringRef formal = formals[std::min<size_t>(i, formals.size() - 1)];
    bool mayMiss = formal.consume_back("?") || formal.consume_back("*");
    if (!node.has(i)) {
      if (!mayMiss || isVariadic)
        return node.unsupported("input " + Twine(i) + " is missing");
      continue;
    }
    if (failed(checkWidth(node, i)))
      return failure();
    Type element = node.element(i);
    StringRef kinds = formal.take_while(llvm::isAlpha);
    if (!kinds.contains(kindOf(element)))
      return node.unsupported("input " + Twine(i) + " has elements of type " + textOf(element) + "; the operator takes " +
                              textOf(kinds) + "; is a Cast missing?");
    int number;
    if (formal.drop_front(kinds.size()).getAsInteger(10, number))
      continue;
    auto [it, isNew] = first.try_emplace(number, i);
    // ONNX Runtime's operators are lenient about the widths of floats, and so are the rows: they compute in f32.
    bool isLenient = !signature.domain.empty() && kindOf(element) == 'f' && kindOf(node.element(it->second)) == 'f';
    if (!isNew && node.element(it->second) != element && !isLenient)
      return node.unsupported("inputs " + Twine(it->second) + " and " + Twine(i) + " have elements of types " +
                              textOf(node.element(it->second)) + " and " + textOf(element) +
                              ", which must be the same; is a Cast missing?");
  }
  return success();
}

/// Null if the value is of the kind; else what it should be.
const char *notOfKind(Attribute value, char kind) {
  switch (kind) {
  case 'i': return isa<IntegerAttr>(value) ? nullptr : "an integer";
  case 'f': return isa<FloatAttr>(value) ? nullptr : "a float";
  case 's': return isa<StringAttr>(value) ? nullptr : "a string";
  // One number stands for a list of one.
  case 'I': return isa<DenseI64ArrayAttr, IntegerAttr>(value) ? nullptr : "a list of integers";
  case 'F': return isa<DenseF32ArrayAttr>(value) ? nullptr : "a list of floats";
  case 'S': return isa<ArrayAttr>(value) ? nullptr : "a list of strings";
  case 't': return isa<ElementsAttr>(value) ? nullptr : "a tensor";
  case 'y': return isa<TypeAttr>(value) ? nullptr : "an element type";
  default: return nullptr;
  }
}

LogicalResult checkAttributes(NodeContext &node, StringRef attributes) {
  SmallVector<StringRef> entries;
  attributes.split(entries, ' ', -1, /*KeepEmpty=*/false);
  for (StringRef entry : entries) {
    bool isRequired = entry.consume_back("!");
    auto [name, kind] = entry.split('=');
    Attribute value = node.attr(name);
    if (!value && isRequired)
      return node.unsupported("attribute " + name + " is missing");
    if (const char *wanted = value ? notOfKind(value, kind.front()) : nullptr)
      return node.unsupported("attribute " + name + " is no " + StringRef(wanted).split(' ').second);
  }
  return success();
}

LogicalResult checkRank(NodeContext &node, unsigned i, StringRef wanted) {
  if (wanted == "*")
    return success();
  int64_t rank = node.rank(i);
  if (wanted == "s") {
    if (llvm::all_of(node.shape(i), NodeContext::isOne))
      return success();
    return node.unsupported("input " + Twine(i) + " must have one element");
  }
  auto [low, high] = wanted.split('-');
  bool isOpen = low.consume_back("+");
  int64_t least = 0, most = 0;
  (void)low.getAsInteger(10, least);
  if (high.getAsInteger(10, most))
    most = isOpen ? std::numeric_limits<int64_t>::max() : least;
  if (rank >= least && rank <= most)
    return success();
  return node.unsupported("input " + Twine(i) + " has rank " + Twine(rank) + "; it must be " +
                          (isOpen          ? "at least " + Twine(least)
                           : least == most ? Twine(least)
                                           : Twine(least) + " to " + Twine(most)));
}

LogicalResult checkNeeds(NodeContext &node, const Needs &needs) {
  SmallVector<StringRef> ranks, attributes;
  needs.ranks.split(ranks, ' ');
  for (unsigned i = 0; i < node.inputs(); ++i)
    if (node.has(i) && failed(checkRank(node, i, ranks[std::min<size_t>(i, ranks.size() - 1)])))
      return failure();
  needs.attributes.split(attributes, ' ', -1, /*KeepEmpty=*/false);
  for (StringRef entry : attributes) {
    auto [name, text] = entry.split('=');
    auto [low, high] = text.split('-');
    int64_t least = 0, most = int64_t(1) << 31;
    (void)low.getAsInteger(10, least);
    (void)high.getAsInteger(10, most);
    for (int64_t value : node.intsAttr(name))
      if (value < least || value > most)
        return node.unsupported("attribute " + name + " is " + Twine(value) + "; it must be " + Twine(least) + " to " +
                                Twine(most));
  }
  return success();
}

} // namespace

LogicalResult checkSignature(NodeContext &node) {
  StringRef domain = node.node.getDomain();
  if (domain == "ai.onnx")
    domain = "";
  if (const Signature *signature = signatureOf(domain, node.op(), node.version())) {
    if (failed(checkInputs(node, *signature)) || failed(checkAttributes(node, signature->attributes)))
      return failure();
    if (node.outputs() > signature->outputs)
      return node.unsupported("has " + Twine(node.outputs()) + " results; the operator gives at most " +
                              Twine(signature->outputs));
  } else if (!node.has(0)) {
    return node.unsupported("has no input");
  }
  for (const Needs &needs : kNeeds)
    if (needs.domain == domain && needs.op == node.op())
      return checkNeeds(node, needs);
  return success();
}

} // namespace edgecc

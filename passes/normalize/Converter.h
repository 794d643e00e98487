//===- Converter.h - From onnx nodes to edge ops, one node at a time --------===//
//
// The graph is walked once, in order. For each onnx value the converter knows the symbolic shape, for small integer tensors also
// the contents as expressions of the symbols (so shape arithmetic is evaluated here and never becomes code), and the edge value,
// made only when somebody needs it. An operator is a row `on("Name", since, convert)` in one of the Convert*.cpp files. A row may
// look back at the nodes that made its inputs (`producer`): what was converted on the way and is not used in the end is dead and
// goes away.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_NORMALIZE_CONVERTER_H
#define EDGECC_PASSES_NORMALIZE_CONVERTER_H

#include "dialects/edge/EdgeDialect.h"
#include "dialects/edge/Shape.h"
#include "dialects/onnx/OnnxDialect.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Math/IR/Math.h"
#include "mlir/Dialect/SCF/IR/SCF.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/BuiltinOps.h"
#include "passes/normalize/MaskEvaluation.h"
#include "passes/normalize/RaiseCheck.h"
#include "llvm/ADT/StringMap.h"

namespace edgecc {

/// What is known of an onnx value.
struct TensorInfo {
  edge::SymbolicShape shape;
  mlir::Type element; // signless
  bool isUnsigned = false;
  mlir::Value value;                                           // null: not made yet, or there are only contents
  std::optional<llvm::SmallVector<mlir::AffineExpr>> contents; // integer tensors of few elements, row-major
  mlir::ElementsAttr constant;                                 // an initializer
  std::function<mlir::Value()> make;                           // for when nobody may need it
  std::string name;                                            // of an initializer, for the ledger and for messages
  int64_t state = -1;                                          // this is a KV cache, see `stateValue`
  mlir::Value stateValue;  // [batch, heads, capacity, dim]; `shape` is what the graph sees of it
  mlir::AffineExpr held;   // positions that are filled, of a cache that the graph sees whole; null: all of `shape`
  mlir::Value pairedValue; // a cache [2, ...] of keys and values is two states: this is the values'
};

class Converter;

/// Context length that nobody gave.
constexpr int64_t kDefaultContext = 4096;
/// Positions that the model was made for, by its metadata; without a limit if these do not say.
int64_t modelContext(mlir::ModuleOp module);

/// The largest value that something has under bounds of the symbols.
using LargestValue = llvm::function_ref<int64_t(llvm::ArrayRef<edge::SymbolAttr>)>;
/// Says what is wrong with a value that is too large.
using Complaint = llvm::function_ref<std::string(int64_t)>;

/// The emitting side of a conversion: shapes in, tensor values out. All element functions compute in f32 where the tensors are
/// f16 or bf16: a body sees f32 and yields f32.
class TensorBuilder {
public:
  using Body = llvm::function_ref<mlir::Value(mlir::OpBuilder &, mlir::Location, mlir::ValueRange)>;

  TensorBuilder(mlir::OpBuilder &builder, mlir::Location loc) : builder(builder), loc(loc) {}
  virtual ~TensorBuilder() = default;

  /// result[i...] = body(in0[i...], in1[i...], ...), inputs broadcast to `shape` from the right.
  mlir::Value map(llvm::ArrayRef<mlir::Value> inputs, llvm::ArrayRef<mlir::AffineExpr> shape, mlir::Type element, Body body);
  /// result[i...] = body(i...); the body reads tensors with `load`.
  mlir::Value compute(llvm::ArrayRef<mlir::AffineExpr> shape, mlir::Type element, Body body);
  /// Folds over `axes` (sorted, not negative) of the inputs, which have equal shapes: acc = body(in0, in1, ..., acc), starting
  /// from `init`. Reduced dimensions are dropped. The accumulator has the type of `init`.
  mlir::Value reduce(llvm::ArrayRef<mlir::Value> inputs, llvm::ArrayRef<int64_t> axes, mlir::TypedAttr init, Body body);
  /// Sum of products over loops named by affine maps, e.g. (b, m, k), (b, k, n) -> (b, m, n); accumulates in f32 (or the integer
  /// `element`).
  mlir::Value contract(mlir::Value lhs, mlir::AffineMap lhsMap, mlir::Value rhs, mlir::AffineMap rhsMap,
                       mlir::AffineMap resultMap, llvm::ArrayRef<mlir::AffineExpr> shape, mlir::Type element);

  /// The same elements in another shape. Sizes must be provably equal (asserted by whoever computed `shape`).
  mlir::Value reshape(mlir::Value value, llvm::ArrayRef<mlir::AffineExpr> shape);
  mlir::Value transpose(mlir::Value value, llvm::ArrayRef<int64_t> permutation);
  /// Materializes a broadcast.
  mlir::Value broadcast(mlir::Value value, llvm::ArrayRef<mlir::AffineExpr> shape);
  /// Element type conversion with ONNX Cast semantics (float to int truncates, to bool is != 0).
  mlir::Value cast(mlir::Value value, mlir::Type element, bool fromUnsigned = false, bool toUnsigned = false);
  /// A tensor of one repeated scalar.
  mlir::Value splat(llvm::ArrayRef<mlir::AffineExpr> shape, mlir::TypedAttr scalar);
  /// A small constant tensor.
  mlir::Value constant(mlir::DenseElementsAttr value, llvm::StringRef name = "constant");
  mlir::Value empty(llvm::ArrayRef<mlir::AffineExpr> shape, mlir::Type element);

  /// A kernel with a hand-written body on buffers (bool is i8 there): body(task, inputs..., inouts..., outputs...).
  llvm::SmallVector<mlir::Value> kernel(llvm::StringRef name, mlir::AffineExpr tasks, llvm::ArrayRef<mlir::Value> inputs,
                                        llvm::ArrayRef<mlir::Value> inouts, llvm::ArrayRef<mlir::RankedTensorType> outputs,
                                        llvm::function_ref<void(mlir::OpBuilder &, mlir::Location, mlir::ValueRange)> body);

  /// Inside bodies.
  static mlir::Value load(mlir::OpBuilder &b, mlir::Location loc, mlir::Value tensor, mlir::ValueRange indices);
  static mlir::Value castScalar(mlir::OpBuilder &b, mlir::Location loc, mlir::Value value, mlir::Type to,
                                bool fromUnsigned = false, bool toUnsigned = false);
  static mlir::Value f32(mlir::OpBuilder &b, mlir::Location loc, double value);
  static mlir::Value index(mlir::OpBuilder &b, mlir::Location loc, int64_t value);
  static mlir::Value scalar(mlir::OpBuilder &b, mlir::Location loc, mlir::Type type, double value);
  static mlir::Value size(mlir::OpBuilder &b, mlir::Location loc, mlir::AffineExpr expr) {
    return edge::materialize(b, loc, expr);
  }

  /// Operands do not fit each other: whoever builds for a node reports it, and goes on with a tensor of no meaning.
  virtual void misfit(const llvm::Twine &reason) {}
  /// Known sizes of a tensor are sizes, and known elements are not more than memory can hold; else it is a misfit.
  bool areSizes(llvm::ArrayRef<mlir::AffineExpr> shape);

  mlir::MLIRContext *context() { return builder.getContext(); }
  mlir::AffineExpr expr(int64_t value) { return mlir::getAffineConstantExpr(value, context()); }

  mlir::OpBuilder &builder;
  mlir::Location loc;
};

/// f16 and bf16 are computed in f32.
mlir::Type computeType(mlir::Type element);

/// An index read from data, counted from the end if negative and kept inside: a wrong id must not read elsewhere.
mlir::Value safeIndex(mlir::OpBuilder &b, mlir::Location loc, mlir::Value raw, bool isUnsigned, mlir::AffineExpr size);

/// One node being converted. Accessors that find the node wanting record an error and return a default; rows return `success()`
/// or the `failure()` of `unsupported`.
class NodeContext : public TensorBuilder {
public:
  NodeContext(Converter &converter, onnx::NodeOp node);

  llvm::StringRef op() { return node.getOp(); }
  int64_t version() { return node.getVersion(); }
  unsigned inputs() { return node.getInputs().size(); }
  unsigned outputs() { return node.getOutputs().size(); }
  bool has(unsigned i);
  bool wanted(unsigned output) { return output < outputs() && !node.getOutputs()[output].use_empty(); }

  TensorInfo &info(unsigned i);
  mlir::Value tensor(unsigned i);
  /// A KV cache is not turned into a tensor: its buffer, or null.
  mlir::Value stateBuffer(unsigned i) { return has(i) ? info(i).stateValue : mlir::Value(); }
  edge::SymbolicShape shape(unsigned i) { return info(i).shape; }
  int64_t rank(unsigned i) { return info(i).shape.size(); }
  mlir::Type element(unsigned i) { return info(i).element; }
  bool isUnsigned(unsigned i) { return info(i).isUnsigned; }
  bool isFloat(unsigned i) { return mlir::isa<mlir::FloatType>(element(i)); }
  /// The node that made input i, through Identity; null for graph inputs and initializers.
  onnx::NodeOp producer(unsigned i);

  /// Attributes.
  bool hasAttr(llvm::StringRef name) { return bool(node.getParams().get(name)); }
  int64_t intAttr(llvm::StringRef name, int64_t fallback);
  double floatAttr(llvm::StringRef name, double fallback);
  std::string stringAttr(llvm::StringRef name, llvm::StringRef fallback);
  llvm::SmallVector<int64_t> intsAttr(llvm::StringRef name);
  /// A list that is not given gets `count` times `fallback`; one of another length is an error.
  mlir::LogicalResult fillList(llvm::StringRef name, llvm::SmallVectorImpl<int64_t> &values, size_t count, int64_t fallback);
  mlir::Type typeAttr(llvm::StringRef name, bool *isUnsigned = nullptr);
  mlir::Attribute attr(llvm::StringRef name) { return node.getParams().get(name); }

  /// Inputs known at compile time.
  std::optional<llvm::SmallVector<int64_t>> constantInts(unsigned i);
  std::optional<llvm::SmallVector<double>> constantFloats(unsigned i); // also of integer tensors; at most 4096 elements
  std::optional<llvm::SmallVector<mlir::AffineExpr>> contents(unsigned i);
  /// `axes` as an input (since some version) or attribute; normalized to [0, rank), sorted. None: not given. Not checked, see
  /// `axesOf`.
  std::optional<llvm::SmallVector<int64_t>> axes(unsigned input, int64_t rank);
  /// For look-back at nodes that were converted: what they say was checked.
  int64_t normalizeAxis(int64_t axis, int64_t rank) { return axis < 0 ? axis + rank : axis; }
  /// An axis in [0, rank), or an error.
  mlir::FailureOr<int64_t> axisOf(int64_t given, int64_t rank);
  mlir::FailureOr<int64_t> axisAttr(llvm::StringRef name, int64_t fallback, int64_t rank) {
    return axisOf(intAttr(name, fallback), rank);
  }
  /// Each in [0, rank), in the order given, none twice; or an error.
  mlir::FailureOr<llvm::SmallVector<int64_t>> axesOf(llvm::ArrayRef<int64_t> given, int64_t rank);

  /// Results.
  void set(unsigned i, mlir::Value value, bool isUnsigned = false);
  void setInfo(unsigned i, TensorInfo info);
  void setContents(unsigned i, llvm::ArrayRef<mlir::AffineExpr> contents, llvm::ArrayRef<mlir::AffineExpr> shape,
                   mlir::Type element);
  /// Reports this node: what is not supported, and what to do.
  mlir::LogicalResult unsupported(const llvm::Twine &reason);
  void misfit(const llvm::Twine &reason) override { (void)unsupported(reason); }
  /// Says what was not recognised, without failing.
  void remark(const llvm::Twine &text);

  /// The shape that all inputs broadcast to, or an error.
  mlir::FailureOr<edge::SymbolicShape> broadcastShape(llvm::ArrayRef<edge::SymbolicShape> shapes);
  /// Reports sizes that must be equal and are not known to be; a symbol becomes what a number says.
  mlir::LogicalResult sameSize(mlir::AffineExpr a, mlir::AffineExpr b);
  mlir::LogicalResult sameSizes(llvm::ArrayRef<mlir::AffineExpr> a, llvm::ArrayRef<mlir::AffineExpr> b);
  /// Makes `end` at most `size` in every call: bounds that nobody gave shrink, one that the user gave is reported. `what` has
  /// this size. False if bounds cannot say it, as of one free size and another: then the runtime refuses other calls.
  mlir::FailureOr<bool> endsInside(mlir::AffineExpr end, mlir::AffineExpr size, const llvm::Twine &what);
  /// The same for the rows of a table that ids look up, as far as these follow from sizes (positions do).
  mlir::LogicalResult rowsInside(mlir::Value ids, mlir::AffineExpr rows);
  /// Where input `ids` is one of the graph: a call with other values than [low, high] becomes an error.
  void idsInside(unsigned ids, int64_t low, int64_t high);
  /// The same for ids of rows, if their number is known; without `fromEnd` they are not negative.
  void idsInside(unsigned ids, mlir::AffineExpr rows, bool fromEnd);
  /// For each size whether it is the constant 1.
  static bool isOne(mlir::AffineExpr size);

  Converter &converter;
  onnx::NodeOp node;
};

/// Whether the node has the inputs and attributes that its row reads; what is wrong is reported.
mlir::LogicalResult checkSignature(NodeContext &node);

using Conversion = std::function<mlir::LogicalResult(NodeContext &)>;

/// Rows: the conversion of (domain, op) since a version; the highest version not above the node's is taken.
class ConversionTable {
public:
  /// The domain of the rows that follow ("" is ONNX itself).
  void domain(llvm::StringRef name) { currentDomain = name.str(); }
  void on(llvm::StringRef op, int64_t since, Conversion conversion);
  /// An operator that is known and never converted, whatever its inputs are.
  void never(llvm::StringRef op, const llvm::Twine &reason);
  std::optional<llvm::StringRef> refusal(llvm::StringRef domain, llvm::StringRef op) const;
  /// Null if there is none; `known` tells whether another version is there.
  const Conversion *find(llvm::StringRef domain, llvm::StringRef op, int64_t version, bool *known = nullptr) const;
  /// "domain op since", sorted: for the documentation.
  std::vector<std::string> list() const;

private:
  std::string currentDomain;
  llvm::StringMap<std::map<int64_t, Conversion>> rows; // key: domain + ":" + op
  llvm::StringMap<std::string> refusals;               // the same
};

/// One function per Convert*.cpp.
void addElementwise(ConversionTable &table);
void addFunctions(ConversionTable &table);
void addShapes(ConversionTable &table);
void addMoves(ConversionTable &table);
void addReductions(ConversionTable &table);
void addLayers(ConversionTable &table);
void addOrders(ConversionTable &table);
void addConvolutions(ConversionTable &table);
void addPools(ConversionTable &table);
void addScatters(ConversionTable &table);
void addRearrangements(ConversionTable &table);
void addResizes(ConversionTable &table);
void addQuantized(ConversionTable &table);
void addAttention(ConversionTable &table);
void addMicrosoft(ConversionTable &table);

/// A constant matrix in its own type and layout: [k, n], or [n, k] if `transposed`.
struct WeightRef {
  mlir::Value value;
  bool transposed = false;
  /// The format of a quantized weight, which lies as `edge.linear` has it in layout nk. `zeros` may be null.
  edge::QuantizationAttr quantization = {};
  mlir::Value scales = {}, zeros = {};

  /// Output channels.
  mlir::AffineExpr outputs() const { return edge::shapeOf(value)[transposed || quantization ? 0 : 1]; }
};

class Converter {
public:
  /// A pair of past and present that is no state: an argument of the source, and why.
  struct LoosePair {
    unsigned argument;
    std::string reason;
  };

  /// What attempts before this one found: pairs that are no states, and nodes whose layer is not what its form says.
  struct Findings {
    llvm::SmallVector<LoosePair> loose;
    llvm::DenseMap<mlir::Operation *, std::string> refuted; // why, by the last node of the layer

    size_t size() const { return loose.size() + refuted.size(); }
  };

  Converter(mlir::ModuleOp module, const Findings &before, RaiseChecker *checker);
  /// Succeeds without effect if there are new findings; then the next attempt knows.
  mlir::LogicalResult run();
  const Findings &findings() const { return found; }
  /// Remarks are kept until it is known that this attempt counts.
  void remark(onnx::NodeOp node, const llvm::Twine &text);
  void emitRemarks();

  TensorInfo &info(mlir::Value onnxValue) { return infos[onnxValue]; }
  /// The edge tensor of an onnx value: made from its contents, constant or state if there is none yet.
  mlir::Value tensor(mlir::Value onnxValue);
  /// A cache as a tensor: a copy.
  mlir::Value readState(TensorInfo &info, mlir::Location loc);
  void report(onnx::NodeOp node, const llvm::Twine &reason);
  /// The row of a node; null, and reported, if there is none.
  const Conversion *rowOf(onnx::NodeOp node);
  /// See NodeContext::endsInside.
  mlir::LogicalResult limit(onnx::NodeOp node, LargestValue largest, int64_t most, Complaint complaint);
  /// Fixes the symbol of a size that must be this number, or reports that it cannot be.
  mlir::LogicalResult fix(onnx::NodeOp node, mlir::AffineExpr size, int64_t number);
  /// The graph's input that this value hands on as it is, through `views` of ONNX; null if it is computed, or no argument.
  mlir::BlockArgument handedOn(mlir::Value onnxValue);
  /// Which values an argument may have; what it was given before is kept, and the tightest range counts.
  void limitValues(mlir::BlockArgument argument, int64_t low, int64_t high);
  void requireValues(mlir::BlockArgument argument, mlir::AffineExpr equal);
  /// The name of an input whose values, not only its sizes, this one is computed from; empty if there is none but those that the
  /// session knows.
  llvm::StringRef givenBehind(mlir::Value onnxValue);
  /// Upper bound of a size, with what is known of a session.
  int64_t largest(mlir::AffineExpr value, llvm::ArrayRef<edge::SymbolAttr> symbols);

  mlir::MLIRContext *context() { return module.getContext(); }
  mlir::OpBuilder &getBuilder() { return builder; }
  /// Positions held before this call, or null in a model without a KV cache.
  mlir::AffineExpr position;
  /// Positions that this call adds.
  mlir::AffineExpr tokens;
  /// Sizes that must not be negative in a call, beside those of tensors: how far an end lies inside.
  llvm::SmallVector<mlir::AffineExpr> required;
  /// Weights of DequantizeLinear nodes that were repacked, and whether as [n, k]: a table is an embedding and a head.
  llvm::DenseMap<llvm::PointerIntPair<mlir::Operation *, 1, bool>, std::optional<WeightRef>> dequantized;
  /// Masks that were looked at before.
  MaskMemory masks;
  /// Rotary embeddings that were raised, by the onnx value.
  struct Rope {
    mlir::Value input; // onnx
    mlir::Value cos, sin;
    bool interleaved, headsFirst;
  };
  llvm::DenseMap<mlir::Value, Rope> ropes;
  /// Tables of rotary embeddings, cut to the given half size (negative: of interleaved pairs): layers share them.
  std::map<std::pair<const void *, int64_t>, mlir::Value> halfTables;

private:
  mlir::LogicalResult collectSymbols(mlir::func::FuncOp source);
  unsigned symbolNamed(llvm::StringRef name);
  void setSymbols(llvm::SmallVector<edge::SymbolAttr> symbols);
  /// An input whose values a session knows. It is no argument, but one that a caller may give and the runtime checks
  /// (dialects/edge/Checked.h has the rules).
  struct Implicit {
    enum Rule { Equal, Counting, Below };
    unsigned argument; // of the source
    Rule rule;
    mlir::AffineExpr base;
  };
  void findStates(mlir::func::FuncOp source);
  void remarkOnPair(mlir::func::FuncOp source, unsigned argument, unsigned result, const llvm::Twine &reason);
  void remarkOnNames(mlir::func::FuncOp source);
  void alignMask(mlir::func::FuncOp source, mlir::AffineExpr past);
  bool findLoosePairs(mlir::func::FuncOp source);
  void nameSession(mlir::AffineExpr past, mlir::AffineExpr filled);
  void findTokens(mlir::func::FuncOp source);
  void findImplicit(mlir::BlockArgument argument, llvm::StringRef name);
  void findIndices(onnx::NodeOp scatter);
  void findLengths(onnx::NodeOp node);
  void addImplicit(mlir::BlockArgument argument, Implicit::Rule rule, mlir::AffineExpr base);
  bool isState(unsigned argument);
  bool isImplicit(unsigned argument);
  void alignBatches(mlir::func::FuncOp source);
  void listChecked(mlir::func::FuncOp source);
  mlir::LogicalResult createFunction(mlir::func::FuncOp source);
  void convertNodes(mlir::func::FuncOp source, bool inputsKnown);
  void requireSizes();
  void claim(NodeContext &node, const Conversion &row);
  bool findRefuted();
  void verifyFrom(mlir::Operation *first, onnx::NodeOp node);
  void standIn(onnx::NodeOp node);
  llvm::DenseSet<mlir::Operation *> usedOps();
  mlir::LogicalResult convertReturn(mlir::func::FuncOp source);
  mlir::Value replaceState(mlir::Value state, mlir::Value contents, mlir::Location loc);
  void convertConstant(onnx::ConstantOp constant);
  mlir::Value implicitInput(const Implicit &input, mlir::RankedTensorType type, mlir::Location loc);

  struct SymbolInfo {
    std::string name;
    int64_t min, max;
    edge::SymbolRole role;
    mlir::AffineExpr replacement; // a constant, or an expression of other symbols
    bool isGiven = false;         // the bounds are the user's
  };

  mlir::ModuleOp module;
  mlir::OpBuilder builder;
  mlir::func::FuncOp function;
  ConversionTable table;
  llvm::DenseMap<mlir::Value, TensorInfo> infos;
  std::vector<SymbolInfo> symbols;
  llvm::SmallVector<bool> isGiven;                  // by the final number of a symbol
  llvm::SmallVector<edge::SymbolicShape> argShapes; // per argument of the source
  struct StateIO {
    unsigned argument, result; // of the source
    int64_t part = -1;         // 0: the keys, 1: the values of a cache that holds both
    enum Kind {
      Grown,    // rows are joined to it
      Filled,   // rows are written into it, behind what it holds
      Replaced, // of fixed size, written anew by each call (the last inputs of a convolution)
    } kind = Grown;
  };
  llvm::SmallVector<StateIO> stateIO;
  llvm::SmallVector<Implicit> implicit;
  mlir::AffineExpr batch; // sequences of a call, by the first numbers of the symbols; null if nothing says
  Findings found;
  RaiseChecker *checker;
  std::vector<Claim> claims;
  std::vector<onnx::NodeOp> claimants; // the last node of each claim's layer
  std::vector<std::string> errors;
  std::vector<std::pair<mlir::Location, std::string>> remarks;
};

} // namespace edgecc
#endif // EDGECC_PASSES_NORMALIZE_CONVERTER_H

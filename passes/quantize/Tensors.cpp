//===- Tensors.cpp ----------------------------------------------------------===//
#include "passes/quantize/Tensors.h"
#include "passes/quantize/FloatWeights.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
namespace edgecc {

/// Smaller layers are left alone unless they are named: they cost nothing, and a classifier's few rows have nobody to average
/// with.
static constexpr int64_t kLeastInputs = 32, kLeastOutputs = 16;
static bool isLarge(int64_t n, int64_t k) { return n >= kLeastOutputs && k >= kLeastInputs; }

StringRef layerName(Operation *op) {
  auto name = op->getLoc()->findInstanceOf<NameLoc>();
  return name ? name.getName().getValue() : StringRef();
}

namespace {

/// Ids that come from an input of the model, not from positions that the session counts.
bool readsInput(Value ids) {
  llvm::SetVector<Value> seen;
  seen.insert(ids);
  for (size_t i = 0; i < seen.size(); ++i) {
    Operation *maker = seen[i].getDefiningOp();
    if (!maker)
      return true;
    seen.insert_range(maker->getOperands());
    maker->walk([&](Operation *inner) { seen.insert_range(inner->getOperands()); });
  }
  return false;
}

/// A table of sines or cosines: the products of rotations take their error times the position.
bool isRotation(Value value) {
  return llvm::any_of(value.getUsers(), [&](Operation *user) {
    if (auto reshape = dyn_cast<edge::ReshapeOp>(user))
      return isRotation(reshape);
    auto rope = dyn_cast<edge::RopeOp>(user);
    return rope && rope.getInput() != value;
  });
}

bool fits(const LayerScheme &named, const Tensor &tensor) {
  return named.glob.match(const_cast<edge::WeightOp &>(tensor.weight).getName()) ||
         llvm::any_of(tensor.users, [&](Operation *op) { return named.glob.match(layerName(op)); });
}

} // namespace

SmallVector<Value> Tensor::inputs() const {
  llvm::SetVector<Value> values;
  for (Operation *user : users)
    if (auto linear = dyn_cast<edge::LinearOp>(user))
      values.insert(linear.getInput());
  return values.takeVector();
}

bool Tensor::isLookedUp() const {
  return llvm::any_of(users, [](Operation *user) { return isa<edge::EmbeddingOp>(user); });
}

Tensors::Key Tensors::keyOf(FloatWeight weight) {
  return {weight.weight.getValue().getAsOpaquePointer(), weight.n, weight.k, weight.rowsOfK};
}

void Tensors::add(Operation *op) {
  std::optional<FloatWeight> weight = floatWeight(op);
  if (!weight)
    return;
  Tensor &tensor = tensors[keyOf(*weight)];
  if (tensor.users.empty())
    tensor = {*weight, {}, false};
  tensor.users.push_back(op);
  auto embedding = dyn_cast<edge::EmbeddingOp>(op);
  tensor.byDefault |= !embedding || (readsInput(embedding.getIds()) && !isRotation(embedding));
}

/// The last pattern that fits, else what was chosen for a reader, else what all get.
const Scheme *Tensors::schemeOf(const Tensor &tensor, int64_t n, int64_t k) const {
  for (const LayerScheme &named : llvm::reverse(overrides))
    if (fits(named, tensor))
      return &named.scheme;
  for (Operation *user : tensor.users)
    if (auto known = schemes.find(user); known != schemes.end())
      return &known->second;
  return tensor.byDefault && isLarge(n, k) ? &fallback : &none;
}

const Scheme &Tensors::schemeAt(Operation *reader, int64_t n, int64_t k) const {
  std::optional<FloatWeight> weight = floatWeight(reader);
  if (!weight)
    return none;
  auto found = llvm::find_if(tensors, [&](auto &entry) { return entry.first == keyOf(*weight); });
  return found == tensors.end() ? none : *schemeOf(found->second, n, k);
}

llvm::Error Tensors::checkPatterns() const {
  constexpr size_t kShown = 40;
  for (const LayerScheme &named : overrides) {
    if (llvm::any_of(tensors, [&](auto &entry) { return fits(named, entry.second); }))
      continue;
    std::string names;
    for (auto [i, entry] : llvm::enumerate(tensors))
      if (i < kShown)
        names +=
            ("\n  " + edge::WeightOp(entry.second.weight).getName() + " (" + layerName(entry.second.users.front()) + ")").str();
    if (tensors.size() > kShown)
      names += "\n  and " + std::to_string(tensors.size() - kShown) + " more";
    return llvm::createStringError(
        "layers: '" + named.pattern +
        "' fits no layer with a float weight; there are, by the name of the weight (and of the layer):" +
        (names.empty() ? "\n  none" : names));
  }
  return llvm::Error::success();
}

llvm::Expected<Tensors> Tensors::collect(ModuleOp module, StringRef text, ArrayRef<std::string> layers) {
  Tensors result;
  auto scheme = parseScheme(text);
  if (!scheme)
    return llvm::createStringError("scheme: " + llvm::toString(scheme.takeError()));
  result.fallback = std::move(*scheme);
  for (StringRef layer : layers) {
    auto named = parseLayerScheme(layer);
    if (!named)
      return llvm::createStringError("layers: " + llvm::toString(named.takeError()));
    result.overrides.push_back(std::move(*named));
  }
  llvm::Error wrong = llvm::Error::success();
  module.walk([&](Operation *op) {
    result.add(op);
    auto text = op->getAttrOfType<StringAttr>(kSchemeAttr);
    if (!text)
      return;
    if (auto scheme = parseScheme(text))
      result.schemes[op] = std::move(*scheme);
    else
      wrong = llvm::joinErrors(std::move(wrong), scheme.takeError());
  });
  if (wrong)
    return wrong;
  if (llvm::Error error = result.checkPatterns())
    return error;
  return result;
}

SmallVector<Tensor *> Tensors::worthIt() {
  SmallVector<Tensor *> result;
  for (auto &[key, tensor] : tensors)
    if (tensor.byDefault && isLarge(tensor.n, tensor.k))
      result.push_back(&tensor);
  return result;
}

SmallVector<std::pair<Tensor *, const Scheme *>> Tensors::chosen() {
  SmallVector<std::pair<Tensor *, const Scheme *>> result;
  for (auto &[key, tensor] : tensors)
    if (const Scheme *scheme = schemeOf(tensor, tensor.n, tensor.k); !scheme->isNone())
      result.push_back({&tensor, scheme});
  return result;
}

} // namespace edgecc

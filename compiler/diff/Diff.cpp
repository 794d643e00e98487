//===- Diff.cpp ---------------------------------------------------------------===//
#include "compiler/diff/Diff.h"
#include "compiler/calibrate/HostCalibrator.h"
#include "compiler/diff/Repro.h"
#include "compiler/diff/Snapshots.h"
#include "dialects/edge/EdgeDialect.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Format.h"
#include <cmath>
#include <thread>

using namespace llvm;
namespace edgecc {
namespace {

/// Values that are held at the same time, of all samples.
constexpr size_t kAtOnce = 64;

StringRef nameOf(mlir::Operation *op) {
  auto name = op->getLoc()->findInstanceOf<mlir::NameLoc>();
  return name ? name.getName().getValue() : StringRef();
}

/// What a node computes, in the order of the model: results of floats, of ops whose location has a name. A node that became
/// several ops has several; they are told apart by op and number.
struct LayerValue {
  std::string key;
  mlir::Value value;
};

std::vector<LayerValue> layersOf(mlir::ModuleOp module) {
  std::vector<LayerValue> layers;
  StringMap<unsigned> count;
  auto main = module.lookupSymbol<mlir::func::FuncOp>("main");
  for (mlir::Operation &op : main.front()) {
    StringRef name = nameOf(&op);
    if (name.empty() || op.getNumResults() != 1 || isa<edge::WeightOp, edge::ReshapeOp, edge::AppendOp>(op))
      continue;
    auto type = dyn_cast<mlir::RankedTensorType>(op.getResult(0).getType());
    if (!type || !type.getElementType().isFloat())
      continue;
    // A tensor without contents yet, or one that only has constants.
    if (op.getNumOperands() == 0)
      continue;
    std::string key = (name + " " + op.getName().getStringRef()).str();
    unsigned number = count[key]++;
    layers.push_back({number ? key + " " + std::to_string(number) : key, op.getResult(0)});
  }
  return layers;
}

/// Contents of values, of all samples one behind the other.
struct Contents {
  std::vector<int64_t> shape; // of the first sample
  std::vector<float> data;
};

Expected<std::vector<Contents>> contentsOf(HostCalibrator &calibrator, ArrayRef<mlir::Value> values) {
  std::vector<Contents> contents(values.size());
  Error error = calibrator.observe("comparing", values, [&](size_t sample, ArrayRef<Observed> observed) {
    for (auto [to, from] : zip(contents, observed)) {
      if (sample == 0)
        to.shape = from.shape.vec();
      to.data.insert(to.data.end(), from.data.begin(), from.data.end());
    }
    return Error::success();
  });
  if (error)
    return error;
  return contents;
}

double relativeError(ArrayRef<float> actual, ArrayRef<float> expected) {
  double lost = 0, power = 0;
  for (auto [a, e] : zip(actual, expected)) {
    if (a == e || (std::isnan(a) && std::isnan(e)))
      lost += 0; // Infinities are equal where their difference is no number.
    else
      lost += (double(a) - e) * (double(a) - e);
    power += std::isfinite(e) ? double(e) * e : 0;
  }
  return power > 0 ? std::sqrt(lost / power) : lost > 0 ? HUGE_VAL : 0;
}

class Comparison {
public:
  Comparison(const DiffOptions &options, std::vector<Snapshot> snapshots, std::vector<Sample> samples)
      : options(options), snapshots(std::move(snapshots)), samples(std::move(samples)) {}
  Expected<Diff> run();

private:
  /// Errors of `snapshot` against the first one.
  Expected<PassErrors> compare(Snapshot &snapshot);
  /// Errors of the first one against the file.
  Expected<PassErrors> compareWithFile();
  Error findDeparture(PassErrors &errors);
  HostCalibrator calibrator() {
    unsigned threads = options.compile.threads ? options.compile.threads : std::max(1u, std::thread::hardware_concurrency());
    return HostCalibrator(samples, threads, options.compile.progress);
  }
  static LayerError entry(const LayerValue &layer, double error) {
    mlir::Operation *op = layer.value.getDefiningOp();
    return {nameOf(op).str(), op->getName().getStringRef().str(), error};
  }

  const DiffOptions &options;
  std::vector<Snapshot> snapshots;
  std::vector<Sample> samples;
  /// Of the layers in PassErrors::layers of the pass that was compared last.
  std::vector<mlir::Value> compared;
  Diff diff;
};

Expected<PassErrors> Comparison::compare(Snapshot &snapshot) {
  PassErrors result{snapshot.pass, {}, 0};
  compared.clear();
  std::vector<LayerValue> expected = layersOf(*snapshots.front().module), actual = layersOf(*snapshot.module);
  StringMap<mlir::Value> known;
  for (LayerValue &layer : expected)
    known[layer.key] = layer.value;
  erase_if(actual, [&](LayerValue &layer) { return !known.count(layer.key); });
  for (size_t first = 0; first < actual.size(); first += kAtOnce) {
    auto part = ArrayRef(actual).slice(first, std::min(kAtOnce, actual.size() - first));
    SmallVector<mlir::Value> now, before;
    for (const LayerValue &layer : part) {
      now.push_back(layer.value);
      before.push_back(known[layer.key]);
    }
    HostCalibrator runner = calibrator();
    auto wanted = contentsOf(runner, before);
    if (!wanted)
      return wanted.takeError();
    auto seen = contentsOf(runner, now);
    if (!seen)
      return seen.takeError();
    for (auto [layer, a, e] : zip(part, *seen, *wanted)) {
      if (a.shape != e.shape) {
        ++result.reshaped;
        continue;
      }
      result.layers.push_back(entry(layer, relativeError(a.data, e.data)));
      compared.push_back(layer.value);
    }
  }
  return result;
}

Expected<PassErrors> Comparison::compareWithFile() {
  PassErrors result{snapshots.front().pass, {}, 0};
  compared.clear();
  std::map<std::string, arrays::Array> file;
  if (std::string fault = arrays::readNpz(options.reference, file); !fault.empty())
    return createStringError(Twine("--reference ") + fault);
  // The last op of a node has the node's result.
  std::vector<LayerValue> all = layersOf(*snapshots.front().module), layers;
  StringMap<size_t> last;
  for (auto [i, layer] : enumerate(all))
    last[nameOf(layer.value.getDefiningOp())] = i;
  for (auto [i, layer] : enumerate(all))
    if (StringRef name = nameOf(layer.value.getDefiningOp()); last[name] == i && file.count(name.str()))
      layers.push_back(layer);
  if (layers.empty())
    return createStringError("--reference %s: none of its arrays has the name of a node whose result the compiled model has",
                             options.reference.c_str());
  for (size_t first = 0; first < layers.size(); first += kAtOnce) {
    auto part = ArrayRef(layers).slice(first, std::min(kAtOnce, layers.size() - first));
    SmallVector<mlir::Value> values;
    for (const LayerValue &layer : part)
      values.push_back(layer.value);
    HostCalibrator runner = calibrator();
    auto seen = contentsOf(runner, values);
    if (!seen)
      return seen.takeError();
    for (auto [layer, contents] : zip(part, *seen)) {
      const arrays::Array &array = file[nameOf(layer.value.getDefiningOp()).str()];
      ArrayRef<float> expected(reinterpret_cast<const float *>(array.bytes.data()), array.bytes.size() / sizeof(float));
      if (array.type != EDGECC_F32 || expected.size() != contents.data.size()) {
        ++result.reshaped;
        continue;
      }
      result.layers.push_back(entry(layer, relativeError(contents.data, expected)));
      compared.push_back(layer.value);
    }
  }
  return result;
}

/// The first layer that is off; its inputs are still as they should be.
Error Comparison::findDeparture(PassErrors &errors) {
  auto found = find_if(errors.layers, [&](const LayerError &layer) { return !(layer.error <= options.tolerance); });
  if (found == errors.layers.end() || diff.pass)
    return Error::success();
  diff.pass = diff.passes.size();
  diff.layer = found - errors.layers.begin();
  if (options.repro.empty())
    return Error::success();
  HostCalibrator runner = calibrator();
  auto files = writeRepro(options.repro, compared[*diff.layer].getDefiningOp(), runner);
  if (!files)
    return files.takeError();
  diff.repro = std::move(*files);
  return Error::success();
}

Expected<Diff> Comparison::run() {
  diff.tolerance = options.tolerance;
  for (size_t i = options.reference.empty() ? 1 : 0; i < snapshots.size(); ++i) {
    auto errors = i == 0 ? compareWithFile() : compare(snapshots[i]);
    if (!errors)
      return errors.takeError();
    if (Error error = findDeparture(*errors))
      return error;
    diff.passes.push_back(std::move(*errors));
  }
  return std::move(diff);
}

} // namespace

Expected<Diff> diffPasses(const DiffOptions &options, mlir::MLIRContext &context) {
  if (options.tolerance < 0)
    return createStringError("the tolerance must not be negative");
  auto snapshots = takeSnapshots(options.compile, context);
  if (!snapshots)
    return snapshots.takeError();
  context.loadAllAvailableDialects();
  auto main = snapshots->front().module->lookupSymbol<mlir::func::FuncOp>("main");
  if (!main)
    return createStringError("%s has no function main to compare", options.compile.input.c_str());
  const Options &compile = options.compile;
  SampleOptions sampling{compile.calibrate, compile.tokenizer, compile.input, options.samples, compile.calibrateLength};
  auto samples = compile.calibrate.empty() ? randomSamples(sampling, main) : readSamples(sampling, main);
  if (!samples)
    return samples.takeError();
  return Comparison(options, std::move(*snapshots), std::move(*samples)).run();
}

void Diff::print(raw_ostream &os, bool all) const {
  for (auto [i, errors] : enumerate(passes)) {
    auto worst = max_element(errors.layers, [](auto &a, auto &b) { return a.error < b.error; });
    os << (errors.pass.empty() ? "the model" : errors.pass) << ": " << errors.layers.size() << " layers compared";
    if (errors.reshaped)
      os << ", " << errors.reshaped << " of another shape left out";
    if (worst != errors.layers.end())
      os << "; the largest error is " << format("%.3g", worst->error) << " in " << worst->layer;
    os << "\n";
    for (auto [j, layer] : enumerate(errors.layers))
      if (bool departs = pass == i && this->layer == j; all || departs)
        os << (departs ? "  departs here: " : "  ") << format("%.3g ", layer.error) << layer.layer << " (" << layer.op << ")\n";
  }
  if (!pass)
    os << "nothing departs by more than " << format("%g", tolerance) << "\n";
  for (const std::string &file : repro)
    os << "wrote " << file << "\n";
}

json::Value Diff::toJson() const {
  json::Array list;
  for (const PassErrors &errors : passes) {
    json::Array layers;
    for (const LayerError &layer : errors.layers)
      layers.push_back(json::Object{{"layer", layer.layer}, {"op", layer.op}, {"relative_error", layer.error}});
    list.push_back(json::Object{{"pass", errors.pass}, {"layers", std::move(layers)}, {"reshaped", errors.reshaped}});
  }
  json::Object result{{"passes", std::move(list)}, {"tolerance", tolerance}};
  if (pass)
    result["departure"] = json::Object{{"pass", passes[*pass].pass}, {"layer", passes[*pass].layers[*layer].layer}};
  result["repro"] = json::Array(repro);
  return result;
}

} // namespace edgecc

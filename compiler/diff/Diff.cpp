//===- Diff.cpp ---------------------------------------------------------------===//
#include "compiler/diff/Diff.h"
#include "compiler/calibrate/HostCalibrator.h"
#include "compiler/diff/Snapshots.h"
#include "dialects/edge/EdgeDialect.h"
#include "passes/quantize/Tensors.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Format.h"
#include "llvm/Support/Path.h"
#include <cmath>
#include <thread>

using namespace llvm;
namespace edgecc {
namespace {

/// Values that are held at the same time, of all samples.
constexpr size_t kAtOnce = 128;

/// A value that is compared, and what it should be.
struct Pair {
  mlir::Value actual, expected;
};

/// Contents of a value in one sample.
struct Contents {
  std::vector<int64_t> shape;
  std::vector<float> data;
};

class Comparison {
public:
  Comparison(const DiffOptions &options, std::vector<Snapshot> snapshots, std::vector<Sample> samples)
      : options(options), snapshots(std::move(snapshots)), samples(std::move(samples)) {}
  Expected<Diff> run();

private:
  mlir::func::FuncOp mainOf(size_t i) { return snapshots[i].module->lookupSymbol<mlir::func::FuncOp>("main"); }
  unsigned threads() const {
    return options.compile.threads ? options.compile.threads : std::max(1u, std::thread::hardware_concurrency());
  }
  bool departs(const LayerError &layer) const { return !(layer.error.relative <= options.tolerance); }
  HostCalibrator calibrator() { return HostCalibrator(samples, threads(), options.compile.progress); }

  /// What `values` are, sample by sample.
  Expected<std::vector<std::vector<Contents>>> contentsOf(HostCalibrator &calibrator, ArrayRef<mlir::Value> values);
  /// Compares with `base`.
  Error compare(ArrayRef<LayerValue> layers, const Counterparts &reference, PassErrors &result);
  /// Compares the first snapshot with the file.
  Error compareWithFile(PassErrors &result);
  void add(mlir::Value layer, const DifferenceSum &sum, size_t sample, PassErrors &result);
  /// Whether the model's results, of which there are some in `errors`, are what they were.
  bool resultsAgree(const PassErrors &errors, mlir::func::FuncOp main) const;
  /// The first layer that is off.
  Error describeDeparture(const PassErrors &errors, const Counterparts &reference);

  const DiffOptions &options;
  std::vector<Snapshot> snapshots;
  std::vector<Sample> samples;
  /// The snapshot that the next one is compared with: a pass may say the same in other numbers.
  size_t base = 0;
  /// What the first layer that departs from the file should be in its worst sample.
  std::optional<arrays::Array> wanted;
  /// Of the layers in PassErrors::layers of the pass that was compared last.
  std::vector<mlir::Value> compared;
  Diff diff;
};

Expected<std::vector<std::vector<Contents>>> Comparison::contentsOf(HostCalibrator &calibrator, ArrayRef<mlir::Value> values) {
  std::vector<std::vector<Contents>> contents;
  Error error = calibrator.observe("comparing", values, [&](size_t, ArrayRef<Observed> observed) {
    std::vector<Contents> &sample = contents.emplace_back();
    for (const Observed &from : observed)
      sample.push_back({from.shape.vec(), from.data.vec()});
    return Error::success();
  });
  if (error)
    return error;
  return contents;
}

void Comparison::add(mlir::Value layer, const DifferenceSum &sum, size_t sample, PassErrors &result) {
  mlir::Operation *op = layer.getDefiningOp();
  result.layers.push_back({layerName(op).str(), op->getName().getStringRef().str(), sum.result(), sample});
  compared.push_back(layer);
}

Error Comparison::compare(ArrayRef<LayerValue> layers, const Counterparts &reference, PassErrors &result) {
  SmallVector<mlir::Value> actual, expected;
  for (const LayerValue &layer : layers)
    if (mlir::Value other = reference.lookup(layer.value)) {
      actual.push_back(layer.value);
      expected.push_back(other);
    }
  for (size_t first = 0; first < actual.size(); first += kAtOnce) {
    const size_t count = std::min(kAtOnce, actual.size() - first);
    HostCalibrator runner = calibrator();
    auto wanted = contentsOf(runner, ArrayRef(expected).slice(first, count));
    if (!wanted)
      return wanted.takeError();
    std::vector<DifferenceSum> sums(count);
    std::vector<std::pair<double, size_t>> worst(count, {-1, 0});
    std::vector<bool> isSame(count, true);
    Error error =
        runner.observe("comparing", ArrayRef(actual).slice(first, count), [&](size_t sample, ArrayRef<Observed> observed) {
      for (size_t i = 0; i < count; ++i) {
        const Contents &right = (*wanted)[sample][i];
        isSame[i] = isSame[i] && ArrayRef(right.shape) == observed[i].shape;
        if (isSame[i])
          worst[i] = std::max(worst[i], {sums[i].add(observed[i].data, right.data), sample});
      }
      return Error::success();
    });
    if (error)
      return error;
    for (size_t i = 0; i < count; ++i)
      isSame[i] ? add(actual[first + i], sums[i], worst[i].second, result) : void(++result.reshaped);
  }
  return Error::success();
}

Error Comparison::compareWithFile(PassErrors &result) {
  std::map<std::string, arrays::Array> file;
  if (std::string fault = arrays::readNpz(options.reference, file); !fault.empty())
    return createStringError(Twine("--reference ") + fault);
  // The last op of a node has the node's result.
  std::vector<LayerValue> all = layersOf(mainOf(0));
  StringMap<mlir::Value> last;
  for (const LayerValue &layer : all)
    last[layerName(layer.value.getDefiningOp())] = layer.value;
  SmallVector<mlir::Value> layers;
  for (const LayerValue &layer : all)
    if (StringRef name = layerName(layer.value.getDefiningOp()); last[name] == layer.value && file.count(name.str()))
      layers.push_back(layer.value);
  if (layers.empty())
    return createStringError("--reference %s: none of its arrays has the name of a node whose result the compiled model has",
                             options.reference.c_str());
  for (size_t first = 0; first < layers.size(); first += kAtOnce) {
    auto part = ArrayRef(layers).slice(first, std::min(kAtOnce, layers.size() - first));
    HostCalibrator runner = calibrator();
    auto seen = contentsOf(runner, part);
    if (!seen)
      return seen.takeError();
    for (auto [i, layer] : enumerate(part)) {
      const arrays::Array &array = file[layerName(layer.getDefiningOp()).str()];
      std::vector<float> memory;
      ArrayRef<float> expected = asFloats(array.type, array.bytes.data(), array.bytes.size(), memory);
      size_t total = 0;
      for (const auto &sample : *seen)
        total += sample[i].data.size();
      if (expected.size() != total) {
        ++result.reshaped;
        continue;
      }
      DifferenceSum sum;
      std::pair<double, size_t> worst{-1, 0};
      arrays::Array worstExpected;
      for (auto [number, sample] : enumerate(*seen)) {
        ArrayRef<float> right = expected.take_front(sample[i].data.size());
        expected = expected.drop_front(right.size());
        if (double error = sum.add(sample[i].data, right); !(error <= worst.first)) {
          const auto *bytes = reinterpret_cast<const uint8_t *>(right.data());
          worst = {error, number};
          worstExpected = {EDGECC_F32, sample[i].shape, {bytes, bytes + right.size() * sizeof(float)}};
        }
      }
      add(layer, sum, worst.second, result);
      if (!wanted && departs(result.layers.back()))
        wanted = std::move(worstExpected);
    }
  }
  return Error::success();
}

Error Comparison::describeDeparture(const PassErrors &errors, const Counterparts &reference) {
  auto found = find_if(errors.layers, [&](const LayerError &layer) { return departs(layer); });
  diff.pass = diff.passes.size();
  diff.layer = found - errors.layers.begin();
  if (options.repro.empty())
    return Error::success();
  mlir::Value departed = compared[*diff.layer];
  ReproRequest request{options.repro,
                       departed,
                       reference,
                       samples[found->sample],
                       std::exchange(wanted, {}),
                       options.tolerance,
                       threads(),
                       options.compile.progress};
  auto repro = writeRepro(request);
  if (!repro)
    return repro.takeError();
  diff.repro = std::move(*repro);
  return Error::success();
}

bool Comparison::resultsAgree(const PassErrors &errors, mlir::func::FuncOp main) const {
  bool any = false;
  for (mlir::Value result : main.front().getTerminator()->getOperands()) {
    while (auto reshape = result.getDefiningOp<edge::ReshapeOp>())
      result = reshape.getInput();
    auto found = find(compared, result);
    if (found == compared.end())
      continue;
    any = true;
    if (departs(errors.layers[found - compared.begin()]))
      return false;
  }
  return any;
}

Expected<Diff> Comparison::run() {
  diff.tolerance = options.tolerance;
  for (size_t i = options.reference.empty() ? 1 : 0; i < snapshots.size(); ++i) {
    PassErrors errors{snapshots[i].pass, {}, 0, 0};
    Counterparts reference(mainOf(i), mainOf(base));
    compared.clear();
    if (Error error = i == 0 ? compareWithFile(errors) : compare(layersOf(mainOf(i)), reference, errors))
      return error;
    size_t departed = count_if(errors.layers, [&](const LayerError &layer) { return departs(layer); });
    if (i > 0 && departed > 0 && resultsAgree(errors, mainOf(i))) {
      errors.rewritten = departed;
      base = i;
    } else if (departed > 0 && !diff.pass) {
      if (Error error = describeDeparture(errors, reference))
        return error;
    }
    diff.passes.push_back(std::move(errors));
  }
  return std::move(diff);
}

} // namespace

Expected<Diff> diffPasses(const DiffOptions &options, mlir::MLIRContext &context) {
  if (!(options.tolerance >= 0))
    return createStringError("--tolerance=%g: write a relative error of 0 or more", options.tolerance);
  if (!options.repro.empty() && sys::fs::exists(options.repro))
    return createStringError("--repro %s exists already; name a folder that does not", options.repro.c_str());
  auto snapshots = takeSnapshots(options.compile, context);
  if (!snapshots)
    return snapshots.takeError();
  context.loadAllAvailableDialects();
  auto main = snapshots->front().module->lookupSymbol<mlir::func::FuncOp>("main");
  if (!main)
    return createStringError("%s has no function main to compare", options.compile.input.c_str());
  const Options &compile = options.compile;
  SampleOptions sampling{options.inputs,  compile.tokenizer,       compile.input,
                         options.samples, compile.calibrateLength, options.inputsFlag};
  if (options.inputs.empty() && !compile.calibrate.empty()) {
    sampling.file = compile.calibrate;
    sampling.flag = "--calibrate";
  }
  auto samples = sampling.file.empty() ? randomSamples(sampling, main) : readSamples(sampling, main);
  if (!samples)
    return samples.takeError();
  std::string of = StringRef(options.inputsFlag) != "--inputs" ? std::string("of ") + options.inputsFlag
                   : sampling.file.empty()                     ? "of random numbers"
                                                               : "of " + sys::path::filename(sampling.file).str();
  std::string text = (Twine(samples->size()) + (samples->size() == 1 ? " sample " : " samples ") + of).str();
  auto diff = Comparison(options, std::move(*snapshots), std::move(*samples)).run();
  if (diff)
    diff->samples = std::move(text);
  return diff;
}

static StringRef label(const PassErrors &errors) { return errors.pass.empty() ? StringRef("(before all passes)") : errors.pass; }

void Diff::print(raw_ostream &os, bool all) const {
  size_t width = 4;
  for (const PassErrors &errors : passes)
    width = std::max(width, label(errors).size());
  if (!passes.empty())
    os << left_justify("pass", width) << "  layers  largest error  in\n";
  for (const PassErrors &errors : passes) {
    os << left_justify(label(errors), width) << format("  %6zu", errors.layers.size());
    auto worst = max_element(errors.layers, [](auto &a, auto &b) { return a.error.relative < b.error.relative; });
    if (worst != errors.layers.end())
      os << format("  %13.3g  ", worst->error.relative) << worst->layer;
    os << "\n";
    if (errors.reshaped)
      os << "  " << errors.reshaped << " more have another shape now\n";
    if (errors.rewritten)
      os << "  " << errors.rewritten << " layers hold other numbers, but the model's results are what they were\n";
    if (all && !errors.layers.empty()) {
      os << "  relative    largest     cosine  layer\n";
      for (const LayerError &layer : errors.layers)
        os << format("  %8.3g   %8.3g   %8.6f  ", layer.error.relative, layer.error.largest, layer.error.cosine) << layer.layer
           << " (" << layer.op << ")\n";
    }
  }
  if (!pass) {
    os << (passes.empty() ? "no pass changes what is computed" : "no layer departs");
    os << format(" (tolerance %g, ", tolerance) << samples << ")\n";
    return;
  }
  const LayerError &first = passes[*pass].layers[*layer];
  os << "departs first: " << first.layer << " (" << first.op << "), "
     << (passes[*pass].pass.empty() ? "before all passes" : "by " + passes[*pass].pass) << "\n"
     << format("  relative error %.3g (tolerance %g), largest difference %.3g, cosine %.6f, ", first.error.relative, tolerance,
               first.error.largest, first.error.cosine)
     << samples << "\n";
  if (repro)
    os << "  the piece of " << repro->layers << (repro->layers == 1 ? " layer" : " layers")
       << format(" alone, on inputs that are right: relative error %.3g\n  ", repro->error.relative) << repro->command << "\n";
}

/// JSON has no infinity.
static json::Value number(double value) { return std::isfinite(value) ? json::Value(value) : json::Value(nullptr); }

static json::Object describe(const Difference &error) {
  return json::Object{
      {"relative_error", number(error.relative)}, {"largest_difference", number(error.largest)}, {"cosine", error.cosine}};
}

static json::Object describe(const LayerError &layer) {
  json::Object result = describe(layer.error);
  result["layer"] = layer.layer;
  result["op"] = layer.op;
  return result;
}

json::Value Diff::toJson() const {
  json::Array list;
  for (const PassErrors &errors : passes) {
    json::Array layers;
    for (const LayerError &layer : errors.layers)
      layers.push_back(describe(layer));
    list.push_back(json::Object{
        {"pass", errors.pass}, {"layers", std::move(layers)}, {"reshaped", errors.reshaped}, {"rewritten", errors.rewritten}});
  }
  json::Object result{{"passes", std::move(list)}, {"tolerance", tolerance}, {"samples", samples}};
  if (pass) {
    json::Object departure = describe(passes[*pass].layers[*layer]);
    departure["pass"] = passes[*pass].pass;
    result["departure"] = std::move(departure);
  }
  if (repro) {
    json::Object piece = describe(repro->error);
    piece["files"] = json::Array(repro->files);
    piece["layers"] = repro->layers;
    piece["command"] = repro->command;
    result["repro"] = std::move(piece);
  }
  return result;
}

} // namespace edgecc

//===- HostCalibrator.cpp -----------------------------------------------------===//
#include "compiler/calibrate/HostCalibrator.h"
#include "compiler/calibrate/Counted.h"
#include "compiler/calibrate/Segment.h"
#include "compiler/codegen/Targets.h"
#include "compiler/package/Progress.h"
#include "dialects/edge/Shape.h"
#include "passes/lower/WeightMemory.h"
#include "llvm/ADT/APFloat.h"
#include <numeric>

using namespace llvm;
namespace edgecc {
namespace {

template <typename T> void convert(const void *data, MutableArrayRef<float> to) {
  for (auto [i, value] : enumerate(to))
    value = float(static_cast<const T *>(data)[i]);
}

void convertBits(const fltSemantics &semantics, const void *data, MutableArrayRef<float> to) {
  for (auto [i, value] : enumerate(to))
    value = APFloat(semantics, APInt(16, static_cast<const uint16_t *>(data)[i])).convertToFloat();
}

/// What `values` are a part of; all belong to one function.
mlir::func::FuncOp functionOf(ArrayRef<mlir::Value> values) {
  mlir::Value first = values.front();
  return cast<mlir::func::FuncOp>(first.getParentBlock()->getParentOp());
}

/// Which tokens of a batch are none, from the mask that encoders are given: [batch, tokens] of 0 and 1.
std::vector<uint8_t> marksOf(const Sample &inputs) {
  auto mask = inputs.find("attention_mask");
  if (mask == inputs.end() || mask->second.shape.size() != 2)
    return {};
  const arrays::Array &array = mask->second;
  size_t size = edgecc_type_size(array.type);
  std::vector<uint8_t> tokens;
  for (size_t i = 0; i < array.bytes.size(); i += size)
    tokens.push_back(any_of(ArrayRef(array.bytes).slice(i, size), [](uint8_t byte) { return byte != 0; }));
  return tokens;
}

} // namespace

ArrayRef<float> asFloats(edgecc_type type, const void *data, size_t bytes, std::vector<float> &memory) {
  size_t count = bytes / edgecc_type_size(type);
  if (type == EDGECC_F32)
    return {static_cast<const float *>(data), count};
  memory.resize(count);
  switch (type) {
  case EDGECC_F16: convertBits(APFloat::IEEEhalf(), data, memory); break;
  case EDGECC_BF16: convertBits(APFloat::BFloat(), data, memory); break;
  case EDGECC_F64: convert<double>(data, memory); break;
  case EDGECC_I64: convert<int64_t>(data, memory); break;
  case EDGECC_I32: convert<int32_t>(data, memory); break;
  case EDGECC_I16: convert<int16_t>(data, memory); break;
  case EDGECC_I8: convert<int8_t>(data, memory); break;
  default: convert<uint8_t>(data, memory);
  }
  return memory;
}

namespace {

/// The last values that a model computed, as floats, which `memory` holds where they had to be converted.
class Floats {
public:
  explicit Floats(size_t values) : memory(values) {}

  std::vector<Observed> of(ArrayRef<edgecc_output> outputs, ArrayRef<uint8_t> tokens, ArrayRef<float> weights) {
    std::vector<Observed> observed;
    for (auto [output, converted] : zip(outputs, memory))
      observed.push_back(
          {ArrayRef(output.shape, output.rank), asFloats(output.type, output.data, output.bytes, converted), tokens, weights});
    return observed;
  }

private:
  std::vector<std::vector<float>> memory;
};

/// Tokens of a text: all ids, or vectors [batch, tokens, channels].
int64_t lengthOf(const Sample &text) {
  if (text.empty())
    return 0;
  const arrays::Array &array = text.begin()->second;
  bool areIds = array.type == EDGECC_I64 || array.type == EDGECC_I32;
  ArrayRef<int64_t> shape = array.shape;
  shape = shape.take_front(areIds ? shape.size() : 2);
  return std::accumulate(shape.begin(), shape.end(), int64_t(1), std::multiplies<>());
}

} // namespace

std::vector<float> HostCalibrator::weightsOf(const Sample &sample) const {
  if (tokensOfPrompts == 0 || otherTokens == 0)
    return {};
  double half = double(tokensOfPrompts + otherTokens) / 2;
  int64_t length = lengthOf(sample);
  std::vector<float> weights(length, float(half / double(otherTokens)));
  std::fill_n(weights.begin(), unreadTokens(sample.prompt, length), float(half / double(tokensOfPrompts)));
  return weights;
}

HostCalibrator::HostCalibrator(std::vector<Sample> samples, unsigned threads, bool progress, CalibrationCache *cache)
    : given(std::move(samples)), threads(threads), progress(progress), cache(cache) {
  for (const Sample &sample : given) {
    int64_t length = lengthOf(sample), unread = unreadTokens(sample.prompt, length);
    tokensOfPrompts += unread;
    otherTokens += length - unread;
  }
  if (!cache)
    return;
  Digest digest;
  digest.add(cache->program());
  // What generated code rounds depends on the instructions that there are.
  if (auto host = findTarget("host"))
    digest.add(host->variants.back()->name);
  else
    consumeError(host.takeError());
  for (const Sample &sample : given) {
    digest.add(std::to_string(sample.size()) + " " + std::to_string(sample.prompt));
    for (const auto &[name, array] : sample) {
      digest.add(name).add(edgecc_type_name(array.type));
      digest.add({reinterpret_cast<const char *>(array.shape.data()), array.shape.size() * sizeof(int64_t)});
      digest.add({reinterpret_cast<const char *>(array.bytes.data()), array.bytes.size()});
    }
  }
  beginning = reached = digest.text();
}

std::optional<int64_t> HostCalibrator::tokensOf(mlir::Value value, function_ref<bool(size_t)> chosen) const {
  mlir::func::FuncOp main = functionOf(value);
  edge::SymbolicShape shape = edge::shapeOf(value);
  mlir::AffineExpr rows = edge::product(ArrayRef(shape).drop_back(), main.getContext());
  int64_t sum = 0;
  for (auto [i, sample] : enumerate(given)) {
    if (!chosen(i))
      continue;
    auto known = dyn_cast<mlir::AffineConstantExpr>(edge::canonical(rows.replaceSymbols(symbolsIn(main, sample))));
    if (!known)
      return std::nullopt;
    std::vector<uint8_t> marks = marksOf(sample);
    for (int64_t row = 0; row < known.getValue(); ++row)
      sum += Observed::counts(marks, known.getValue(), row);
  }
  return sum;
}

Expected<HostModel> HostCalibrator::load(Segment segment) {
  int64_t longest = 1;
  for (const Sample &sample : given)
    for (const auto &[name, array] : sample)
      if (array.shape.size() >= 2)
        longest = std::max(longest, array.shape[1]);
  return HostModel::load(std::move(segment), longest, threads);
}

Error HostCalibrator::runSample(HostModel &model, size_t sample, size_t values, Find more, RawSink sink) {
  auto find = [&](StringRef name) -> std::optional<ArrayView> {
    if (auto found = given[sample].find(name.str()); found != given[sample].end())
      return ArrayView{found->second.type, found->second.shape, found->second.bytes.data()};
    unsigned number;
    if (!name.starts_with(kBeginName) || name.drop_front(kBeginName.size()).getAsInteger(10, number) || contents.empty() ||
        number >= contents[sample].size())
      return more(name);
    const Kept &kept = contents[sample][number];
    return ArrayView{kept.type, kept.shape, kept.memory.getData().data()};
  };
  if (Error error = model.run(find))
    return createStringError(Twine("calibration sample ") + Twine(sample) + ": " + toString(std::move(error)));
  std::vector<edgecc_output> outputs;
  for (size_t i = 0; i < values; ++i) {
    auto output = model.output(i);
    if (!output)
      return output.takeError();
    outputs.push_back(*output);
  }
  return sink(sample, outputs);
}

Error HostCalibrator::runEach(StringRef what, Segment segment, size_t values, RawSink sink) {
  auto model = load(std::move(segment));
  if (!model)
    return model.takeError();
  Progress bar(what, given.size(), progress);
  for (size_t i = 0; i < given.size(); ++i) {
    if (Error error = runSample(*model, i, values, [](StringRef) { return std::nullopt; }, sink))
      return error;
    bar.update(i + 1);
  }
  return Error::success();
}

Error HostCalibrator::run(StringRef what, mlir::func::FuncOp function, ArrayRef<mlir::Value> values, RawSink sink) {
  isAsked = true;
  if (Error error = catchUp())
    return error;
  return runEach(what, cutSegment(function, begins, values), values.size(), sink);
}

Error HostCalibrator::observe(StringRef what, ArrayRef<mlir::Value> values, Sink sink) {
  if (values.empty())
    return Error::success();
  Floats floats(values.size());
  return run(what, functionOf(values), values, [&](size_t sample, ArrayRef<edgecc_output> outputs) {
    return sink(sample, floats.of(outputs, marksOf(given[sample]), weightsOf(given[sample])));
  });
}

class HostCalibrator::HostReplay : public Replay {
public:
  HostReplay(HostCalibrator &calibrator, Segment segment, size_t values)
      : calibrator(calibrator), segment(std::move(segment)), values(values), floats(values) {}

  Error run(size_t sample, ArrayRef<Input> inputs, function_ref<Error(ArrayRef<Observed>)> sink) override {
    if (!model) {
      if (Error error = calibrator.catchUp())
        return error;
      auto loaded = calibrator.load(std::move(segment));
      if (!loaded)
        return loaded.takeError();
      model.emplace(std::move(*loaded));
    }
    auto find = [&](StringRef name) -> std::optional<ArrayView> {
      for (const Input &input : inputs)
        if (input.name == name)
          return ArrayView{EDGECC_F32, input.shape, input.data.data()};
      return std::nullopt;
    };
    return calibrator.runSample(*model, sample, values, find, [&](size_t, ArrayRef<edgecc_output> outputs) {
      return sink(floats.of(outputs, marksOf(calibrator.given[sample]), calibrator.weightsOf(calibrator.given[sample])));
    });
  }

private:
  HostCalibrator &calibrator;
  Segment segment; ///< until it is loaded
  std::optional<HostModel> model;
  size_t values;
  Floats floats;
};

std::unique_ptr<Replay> HostCalibrator::prepare(ArrayRef<mlir::Value> values) {
  isAsked = true;
  return std::make_unique<HostReplay>(*this, cutSegment(functionOf(values), begins, values), values.size());
}

Error HostCalibrator::advanceTo(mlir::Operation *op) {
  SmallVector<mlir::Value> live = liveBefore(op);
  if (live.empty()) {
    restart();
    return Error::success();
  }
  Segment segment = cutSegment(op->getParentOfType<mlir::func::FuncOp>(), begins, live);
  if (cache)
    reached = Digest().add(reached).add(digestSegment(*segment, constants)).text();
  ahead.emplace_back(std::move(segment), live.size());
  begins.assign(live.begin(), live.end());
  return Error::success();
}

Error HostCalibrator::catchUp() {
  while (!ahead.empty()) {
    auto [segment, values] = std::move(ahead.front());
    ahead.pop_front();
    std::vector<std::vector<Kept>> kept(given.size());
    auto keep = [&](size_t sample, ArrayRef<edgecc_output> outputs) -> Error {
      for (const edgecc_output &output : outputs) {
        auto memory = allocateWeight(output.bytes);
        if (!memory)
          return memory.takeError();
        if (output.bytes)
          memcpy(memory->getMutableData().data(), output.data, output.bytes);
        releaseWritten(memory->getMutableData().data(), output.bytes, output.bytes);
        kept[sample].push_back({output.type, {output.shape, output.shape + output.rank}, std::move(*memory)});
      }
      return Error::success();
    };
    if (Error error = runEach("calibrating", std::move(segment), values, keep))
      return error;
    contents = std::move(kept);
  }
  return Error::success();
}

void HostCalibrator::restart() {
  begins.clear();
  contents.clear();
  ahead.clear();
  reached = beginning;
}

std::string HostCalibrator::identify(ArrayRef<mlir::Value> values) {
  if (!cache || values.empty())
    return {};
  Segment segment = cutSegment(functionOf(values), begins, values);
  return Digest().add(reached).add(digestSegment(*segment, constants)).text();
}

Error HostCalibrator::remember(StringRef what, StringRef identity, function_ref<void(Archive &)> variables,
                               function_ref<Error()> work) {
  isAsked = true;
  if (!cache)
    return work();
  std::string key = Digest().add(what).add(identity).text();
  if (auto found = cache->find(key)) {
    Archive archive(std::move(found->parts));
    variables(archive);
    if (!archive.isWhole())
      return createStringError(cache->pathOf(key) + ": is no result of '" + what + "'; remove it");
    return Error::success();
  }
  if (Error error = work())
    return error;
  Archive archive;
  variables(archive);
  cache->keep(key, archive);
  return Error::success();
}

} // namespace edgecc

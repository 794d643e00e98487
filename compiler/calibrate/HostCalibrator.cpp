//===- HostCalibrator.cpp -----------------------------------------------------===//
#include "compiler/calibrate/HostCalibrator.h"
#include "compiler/calibrate/Segment.h"
#include "compiler/package/Progress.h"
#include "passes/lower/WeightMemory.h"
#include "llvm/ADT/APFloat.h"

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
std::vector<uint8_t> tokensOf(const Sample &inputs) {
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

Error HostCalibrator::run(StringRef what, mlir::func::FuncOp function, ArrayRef<mlir::Value> values, RawSink sink) {
  int64_t longest = 1;
  for (const Sample &sample : given)
    for (const auto &[name, array] : sample)
      if (array.shape.size() >= 2)
        longest = std::max(longest, array.shape[1]);
  auto model = HostModel::load(cutSegment(function, begins, values), longest, threads);
  if (!model)
    return model.takeError();
  Progress bar(what, given.size(), progress);
  for (auto [i, inputs] : enumerate(given)) {
    auto find = [&, i = i, &inputs = inputs](StringRef name) -> std::optional<ArrayView> {
      if (auto found = inputs.find(name.str()); found != inputs.end())
        return ArrayView{found->second.type, found->second.shape, found->second.bytes.data()};
      unsigned number;
      if (!name.consume_front(kBeginName) || name.getAsInteger(10, number) || number >= begins.size())
        return std::nullopt;
      const Kept &kept = contents[i][number];
      return ArrayView{kept.type, kept.shape, kept.memory.getData().data()};
    };
    if (Error error = model->run(find))
      return createStringError(Twine("calibration sample ") + Twine(i) + ": " + toString(std::move(error)));
    std::vector<edgecc_output> outputs;
    for (size_t j = 0; j < values.size(); ++j) {
      auto output = model->output(j);
      if (!output)
        return output.takeError();
      outputs.push_back(*output);
    }
    if (Error error = sink(i, outputs))
      return error;
    bar.update(i + 1);
  }
  return Error::success();
}

Error HostCalibrator::observe(StringRef what, ArrayRef<mlir::Value> values, Sink sink) {
  if (values.empty())
    return Error::success();
  std::vector<std::vector<float>> memory(values.size());
  return run(what, functionOf(values), values, [&](size_t sample, ArrayRef<edgecc_output> outputs) {
    std::vector<uint8_t> tokens = tokensOf(given[sample]);
    std::vector<Observed> observed;
    for (auto [output, floats] : zip(outputs, memory))
      observed.push_back({ArrayRef(output.shape, output.rank), asFloats(output.type, output.data, output.bytes, floats), tokens});
    return sink(sample, observed);
  });
}

Error HostCalibrator::advanceTo(mlir::Operation *op) {
  SmallVector<mlir::Value> live = liveBefore(op);
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
  if (!live.empty())
    if (Error error = run("calibrating", op->getParentOfType<mlir::func::FuncOp>(), live, keep))
      return error;
  begins.assign(live.begin(), live.end());
  contents = std::move(kept);
  return Error::success();
}

void HostCalibrator::restart() {
  begins.clear();
  contents.clear();
}

} // namespace edgecc

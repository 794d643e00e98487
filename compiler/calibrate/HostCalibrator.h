//===- HostCalibrator.h - Calibration on this machine ------------------------===//
#ifndef EDGECC_COMPILER_CALIBRATE_HOSTCALIBRATOR_H
#define EDGECC_COMPILER_CALIBRATE_HOSTCALIBRATOR_H

#include "compiler/calibrate/HostModel.h"
#include "compiler/calibrate/Samples.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/AsmState.h"
#include "passes/calibrate/Calibrator.h"

namespace edgecc {

/// The numbers of an array as f32; `memory` holds them where they have to be converted.
llvm::ArrayRef<float> asFloats(edgecc_type type, const void *data, size_t bytes, std::vector<float> &memory);

/// Compiles what is asked for with the compiler's own code generator and runs it in this process: what is observed is what an
/// artifact would compute here. Samples are run one after the other, each on all threads.
class HostCalibrator : public Calibrator {
public:
  HostCalibrator(std::vector<Sample> samples, unsigned threads, bool progress)
      : given(std::move(samples)), threads(threads), progress(progress) {}

  size_t samples() const override { return given.size(); }
  int64_t promptOf(size_t sample) const override { return given[sample].prompt; }
  llvm::Error observe(llvm::StringRef what, llvm::ArrayRef<mlir::Value> values, Sink sink) override;
  llvm::Expected<std::unique_ptr<Replay>> prepare(llvm::ArrayRef<mlir::Value> values) override;
  llvm::Error advanceTo(mlir::Operation *op) override;
  void restart() override;

  using RawSink = llvm::function_ref<llvm::Error(size_t sample, llvm::ArrayRef<edgecc_output> outputs)>;
  /// `observe` with the values in their own types. All belong to `function`.
  llvm::Error run(llvm::StringRef what, mlir::func::FuncOp function, llvm::ArrayRef<mlir::Value> values, RawSink sink);

private:
  class HostReplay;
  using Find = llvm::function_ref<std::optional<ArrayView>(llvm::StringRef)>;
  llvm::Expected<HostModel> load(mlir::func::FuncOp function, llvm::ArrayRef<mlir::Value> values);
  /// One sample; `more` has inputs that are not its own.
  llvm::Error runSample(HostModel &model, size_t sample, size_t values, Find more, RawSink sink);

  /// A value at the cut, of one sample.
  struct Kept {
    edgecc_type type;
    std::vector<int64_t> shape;
    mlir::AsmResourceBlob memory; ///< scratch if it is large
  };

  std::vector<Sample> given;
  unsigned threads;
  bool progress;
  /// The cut: what is known there, and its contents for each sample.
  std::vector<mlir::Value> begins;
  std::vector<std::vector<Kept>> contents;
};

} // namespace edgecc
#endif // EDGECC_COMPILER_CALIBRATE_HOSTCALIBRATOR_H

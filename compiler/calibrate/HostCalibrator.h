//===- HostCalibrator.h - Calibration on this machine ------------------------===//
#ifndef EDGECC_COMPILER_CALIBRATE_HOSTCALIBRATOR_H
#define EDGECC_COMPILER_CALIBRATE_HOSTCALIBRATOR_H

#include "compiler/calibrate/CalibrationCache.h"
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
  /// `cache` may be null: then nothing is remembered.
  HostCalibrator(std::vector<Sample> samples, unsigned threads, bool progress, CalibrationCache *cache = nullptr);

  size_t samples() const override { return given.size(); }
  /// Returns whether anything was observed, or taken from the cache.
  bool wasAsked() const { return isAsked; }
  int64_t promptOf(size_t sample) const override { return given[sample].prompt; }
  using Calibrator::tokensOf;
  std::optional<int64_t> tokensOf(mlir::Value value, llvm::function_ref<bool(size_t sample)> chosen) const override;
  llvm::Error observe(llvm::StringRef what, llvm::ArrayRef<mlir::Value> values, Sink sink) override;
  std::unique_ptr<Replay> prepare(llvm::ArrayRef<mlir::Value> values) override;
  llvm::Error advanceTo(mlir::Operation *op) override;
  void restart() override;
  std::string identify(llvm::ArrayRef<mlir::Value> values) override;
  llvm::Error remember(llvm::StringRef what, llvm::StringRef identity, llvm::function_ref<void(Archive &)> variables,
                       llvm::function_ref<llvm::Error()> work) override;

  using RawSink = llvm::function_ref<llvm::Error(size_t sample, llvm::ArrayRef<edgecc_output> outputs)>;
  /// `observe` with the values in their own types. All belong to `function`.
  llvm::Error run(llvm::StringRef what, mlir::func::FuncOp function, llvm::ArrayRef<mlir::Value> values, RawSink sink);

private:
  class HostReplay;
  using Find = llvm::function_ref<std::optional<ArrayView>(llvm::StringRef)>;
  using Segment = mlir::OwningOpRef<mlir::ModuleOp>;
  llvm::Expected<HostModel> load(Segment segment);
  /// Runs what stands before the cut, if that was not done yet.
  llvm::Error catchUp();
  llvm::Error runEach(llvm::StringRef what, Segment segment, size_t values, RawSink sink);
  /// One sample; `more` has inputs that are not its own.
  llvm::Error runSample(HostModel &model, size_t sample, size_t values, Find more, RawSink sink);

  /// A value at the cut, of one sample.
  struct Kept {
    edgecc_type type;
    std::vector<int64_t> shape;
    mlir::AsmResourceBlob memory; ///< scratch if it is large
  };

  /// Observed::weights.
  std::vector<float> weightsOf(const Sample &sample) const;

  std::vector<Sample> given;
  int64_t tokensOfPrompts = 0, otherTokens = 0;
  unsigned threads;
  bool progress, isAsked = false;
  /// The cut: what is known there, and its contents for each sample as soon as nothing is ahead.
  std::vector<mlir::Value> begins;
  std::vector<std::vector<Kept>> contents;
  /// What leads there, as it was when the cut moved on: from the values that are known to those at the next cut.
  std::deque<std::pair<Segment, size_t>> ahead;

  CalibrationCache *cache;
  std::string beginning, reached; ///< digests: of all that counts but the model, and with what stands before the cut
  llvm::DenseMap<mlir::Attribute, std::string> constants;
};

} // namespace edgecc
#endif // EDGECC_COMPILER_CALIBRATE_HOSTCALIBRATOR_H

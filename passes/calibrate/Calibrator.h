//===- Calibrator.h - Asking the running model ------------------------------===//
//
// A pass that loses something looks at what flows through the model when it works on real inputs: the module as it stands,
// compiled for this machine, run on the user's samples. Passes know only this interface; who compiles and runs is in
// compiler/calibrate, which passes may not know.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_PASSES_CALIBRATE_CALIBRATOR_H
#define EDGECC_PASSES_CALIBRATE_CALIBRATOR_H

#include "mlir/IR/Operation.h"
#include "mlir/IR/Value.h"
#include "llvm/Support/Error.h"
#include <optional>

namespace edgecc {
class Archive;

/// One value of one sample as f32, whatever its type was: contiguous, row-major. Lives as long as the call that hands it out.
struct Observed {
  llvm::ArrayRef<int64_t> shape;
  llvm::ArrayRef<float> data;
  /// Of [batch, tokens, ...]: 0 where a token only fills up a batch. Empty: none does.
  llvm::ArrayRef<uint8_t> isToken;
  /// Of [1, tokens, ...]: how much a token counts, one on average over all samples. What follows prompts, which is what users
  /// wait for and read, counts together as much as these do. Empty: all count the same.
  llvm::ArrayRef<float> weights;

  int64_t width() const { return shape.empty() ? 1 : shape.back(); }
  /// The value as [rows, width].
  int64_t rows() const { return width() == 0 ? 0 : int64_t(data.size()) / width(); }
  llvm::ArrayRef<float> row(int64_t i) const { return data.slice(i * width(), width()); }
  /// Whether row i belongs to a token, or to a sequence that has any. A value whose rows are neither, in the batch's order, has
  /// no filling.
  bool counts(int64_t i) const { return counts(isToken, rows(), i); }
  /// What row i counts, if it belongs to one token; else 1.
  float weight(int64_t i) const {
    int64_t tokens = weights.size();
    return tokens > 0 && rows() % tokens == 0 ? weights[i / (rows() / tokens)] : 1;
  }
  /// The same of a value of so many rows.
  static bool counts(llvm::ArrayRef<uint8_t> isToken, int64_t rows, int64_t i);
};

/// Something to run on single samples, several times, with inputs that the samples do not have.
class Replay {
public:
  struct Input {
    llvm::StringRef name;
    llvm::ArrayRef<int64_t> shape;
    llvm::ArrayRef<float> data;
  };
  virtual ~Replay();
  virtual llvm::Error run(size_t sample, llvm::ArrayRef<Input> inputs,
                          llvm::function_ref<llvm::Error(llvm::ArrayRef<Observed>)> sink) = 0;
};

class Calibrator {
public:
  /// Called for one sample after the other, in their order; `values` in the order that was asked for.
  using Sink = llvm::function_ref<llvm::Error(size_t sample, llvm::ArrayRef<Observed> values)>;

  virtual ~Calibrator();

  /// Samples are calls of the model: a sequence, or a batch of them.
  virtual size_t samples() const = 0;
  /// Of a text: how many of its first tokens the model is given at once, as a prompt, before it goes on by itself.
  virtual int64_t promptOf(size_t sample) const = 0;
  /// Of a sample's tokens those of which nobody reads what the model says: of a prompt all but the last one, which the model goes
  /// on from. A prompt that fills its sample goes on in the next one.
  static int64_t unreadTokens(int64_t prompt, int64_t tokens) {
    return prompt >= tokens ? tokens : std::max<int64_t>(prompt - 1, 0);
  }

  /// How many rows of `value` belong to tokens, of all samples together or those that `chosen` says, from the sizes of the
  /// inputs: nothing is run. None if a size is no input's.
  std::optional<int64_t> tokensOf(mlir::Value value) const {
    return tokensOf(value, [](size_t) { return true; });
  }
  virtual std::optional<int64_t> tokensOf(mlir::Value value, llvm::function_ref<bool(size_t sample)> chosen) const;

  /// Runs the function that `values` belong to, as it is now, on each sample. `what` names the work for the progress bar.
  /// Only what the values need is executed. A value is a tensor that the function computes, or one of its arguments.
  virtual llvm::Error observe(llvm::StringRef what, llvm::ArrayRef<mlir::Value> values, Sink sink) = 0;

  /// The same in pieces, of the function as it is now: it may have arguments, f32, that are given in each run. Nothing happens
  /// before the first one. From a cut on it can run as long as that stays where it is.
  virtual std::unique_ptr<Replay> prepare(llvm::ArrayRef<mlir::Value> values) = 0;

  /// From now on `observe` starts at `op`: what stands before it is run once more, as it is now, when something is observed, and
  /// what `op` and those behind it need of it is kept, for all samples, in scratch files. For passes that change one layer after
  /// the other: what is in front of `op` may be changed afterwards without effect. Going back is not possible, but by `restart`.
  virtual llvm::Error advanceTo(mlir::Operation *op) = 0;

  /// Back to the beginning of the function.
  virtual void restart() = 0;

  /// What tells apart the model as it is, as far as `values` depend on it, and the samples: where it is the same, `observe` shows
  /// the same. Empty if nothing is remembered.
  virtual std::string identify(llvm::ArrayRef<mlir::Value> values);

  /// Does `work`, which observes and fills in `variables`, unless they are known from an earlier compile. `what` is its kind with
  /// all options that matter, `identity` is of all that it observes.
  virtual llvm::Error remember(llvm::StringRef what, llvm::StringRef identity, llvm::function_ref<void(Archive &)> variables,
                               llvm::function_ref<llvm::Error()> work);

  /// `observe`, and what `add` makes of it all, which are `variables`.
  llvm::Error gather(llvm::StringRef what, llvm::ArrayRef<mlir::Value> values, llvm::StringRef kind,
                     llvm::function_ref<void(Archive &)> variables, Sink add);
};

} // namespace edgecc
#endif // EDGECC_PASSES_CALIBRATE_CALIBRATOR_H

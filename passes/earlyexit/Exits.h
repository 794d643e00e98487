//===- Exits.h - What is asked of the pass ------------------------------------===//
#ifndef EDGECC_PASSES_EARLYEXIT_EXITS_H
#define EDGECC_PASSES_EARLYEXIT_EXITS_H

#include "dialects/edge/EdgeDialect.h"
#include "llvm/Support/Error.h"

namespace edgecc::earlyexit {

/// As on the command line; numbers below 0 were not given.
struct RequestText {
  std::string layers; ///< "4,8" or "auto"; empty: no exits
  double threshold = -1, agreement = -1;
  std::string confidence = "margin";
  std::string map; ///< "none", "affine" or "": affine where there are samples to fit it on
  bool verify = false;
};

struct Request {
  bool isAuto = false;
  llvm::SmallVector<unsigned> layers; ///< after each of these, counted from 1, in order
  double threshold = 0.9;
  double agreement = 0; ///< that thresholds are calibrated for; 0: they are given
  edge::ExitConfidence confidence = edge::ExitConfidence::Margin;
  bool map = false, verify = false;
};

/// The error names the option.
llvm::Expected<Request> parseRequest(const RequestText &text, bool hasSamples);

} // namespace edgecc::earlyexit
#endif // EDGECC_PASSES_EARLYEXIT_EXITS_H

//===- Generate.h - Writing text with a language model ----------------------===//
#ifndef EDGECC_TOOLS_GENERATE_H
#define EDGECC_TOOLS_GENERATE_H

#include "edgecc/edgecc.hpp"
#include "runtime/text/chat/Sampler.h"
#include "tools/edgecc-run/Exits.h"
#include "tools/text/Text.h"

#include <optional>
#include <string>
#include <vector>

namespace edgecc::tools {

struct GenerateOptions {
  std::optional<std::string> prompt;
  std::vector<int64_t> ids;
  std::string tokenizer; ///< a source, or a compiled one; "" takes the model's own
  std::string entry;     ///< "" takes `prefill` and `decode`, or the one entry there is
  uint32_t maxTokens = 64;
  uint32_t prefillChunk = 0;
  text::SamplingOptions sampling;
  std::vector<int64_t> stopIds;
  bool ignoreStop = false, printIds = false;
  ExitOptions exits; ///< as the session has them; with verifyExits drafts end at the layer
  bool verifyExits = false, stats = false;
  uint32_t drafts = 4; ///< in a row at most, before they are verified
};

/// Streams text (or ids) to stdout and times to stderr. `text` may be null: then ids. Returns the exit status.
int runGenerate(const Model &model, Session &session, const edgecc_text *text, const GenerateOptions &options);

} // namespace edgecc::tools
#endif // EDGECC_TOOLS_GENERATE_H

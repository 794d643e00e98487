//===- Chat.h - A conversation on the terminal --------------------------------===//
#ifndef EDGECC_TOOLS_CHAT_H
#define EDGECC_TOOLS_CHAT_H

#include "edgecc/edgecc.hpp"
#include "edgecc/text.h"

#include <optional>
#include <string>
#include <vector>

namespace edgecc::tools {

struct ChatOptions {
  std::optional<std::string> prompt;  ///< one message of the user; without it messages are read from standard input
  std::string system;                 ///< the system message; "" adds none
  std::string load;                   ///< JSON file with messages to begin with
  std::string tools;                  ///< JSON file with the functions that answers may call
  std::vector<std::string> variables; ///< NAME=JSON for the template
  // What was given on the command line counts before the model's defaults.
  std::optional<float> temperature, topP, minP, repetitionPenalty, presencePenalty, frequencyPenalty;
  std::optional<uint32_t> topK;
  uint64_t seed = 0;
  uint32_t maxTokens = 0, prefillChunk = 0;
  std::vector<std::string> stops;
  bool ignoreStop = false, dropsOldest = false;
};

/// Answers one message, or messages of standard input until it ends. Answers go to standard output, figures to standard error.
/// Returns the exit status.
int runChat(edgecc_text *text, Model &model, Session &session, const ChatOptions &options);

} // namespace edgecc::tools
#endif // EDGECC_TOOLS_CHAT_H

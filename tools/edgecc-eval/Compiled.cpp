#include "tools/edgecc-eval/Eval.h"

namespace edgecc::tools {

std::string Compiled::open(const std::string &path, const EvalOptions &options) {
  edgecc_model_options modelOptions;
  edgecc_model_options_init(&modelOptions);
  modelOptions.cpu = options.cpu.empty() ? nullptr : options.cpu.c_str();
  if (Status status = model.open(path.c_str(), &modelOptions); !status)
    return status.message();
  edgecc_session_options sessionOptions;
  edgecc_session_options_init(&sessionOptions);
  sessionOptions.threads = options.threads;
  if (Status status = session.open(model, &sessionOptions); !status)
    return path + ": " + status.message();

  // The entry that gives all logits at once, else the one that gives each token's, and so the one that can end early.
  std::string entry = options.entry;
  const ptrdiff_t decode = edgecc_model_find_entry(model.handle(), "decode");
  const bool endsEarly = decode >= 0 && edgecc_model_entry_exits(model.handle(), size_t(decode));
  if (entry.empty() && !endsEarly && edgecc_model_find_entry(model.handle(), "score") >= 0)
    entry = "score";
  else if (entry.empty() && decode >= 0)
    entry = "decode";
  if (std::string fault = scoring.emplace(model, session).find(entry); !fault.empty())
    return path + ": " + fault;
  if (std::string fault = writing.emplace(model, session).find(""); !fault.empty())
    return path + ": " + fault;

  edgecc_model_info info;
  edgecc_memory_info memory;
  edgecc_model_get_info(model.handle(), &info);
  edgecc_model_memory(model.handle(), 0, &memory);
  facts = {{"path", path},
           {"name", info.name},
           {"compiler", info.compiler},
           {"command_line", info.command_line},
           {"code", info.code},
           {"file_bytes", info.file_size},
           {"weights_bytes", memory.weights},
           {"arena_bytes", memory.arena},
           {"state_bytes_per_position", memory.bytes_per_position},
           {"vocabulary", scoring->vocabulary()}};
  return "";
}

void Compiled::addDepths(const text::LanguageModel &language, Json &result) {
  uint64_t calls = 0, layers = 0;
  for (size_t depth = 0; depth < language.depths().size(); ++depth) {
    calls += language.depths()[depth];
    layers += language.depths()[depth] * depth;
  }
  if (calls) {
    result["layers"] = double(layers) / double(calls);
    result["depths"] = language.depths();
  }
}

} // namespace edgecc::tools

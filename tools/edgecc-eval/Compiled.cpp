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

  // The entry that gives all logits at once, else the one that gives each token's.
  std::string entry = options.entry;
  for (const char *known : {"score", "decode"})
    if (entry.empty() && edgecc_model_find_entry(model.handle(), known) >= 0)
      entry = known;
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

} // namespace edgecc::tools

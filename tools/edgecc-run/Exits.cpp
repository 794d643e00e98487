#include "tools/edgecc-run/Exits.h"

namespace edgecc::tools {

std::string findExit(const Model &model, std::optional<uint32_t> layer, size_t &exit) {
  edgecc_exit_info info;
  std::string known;
  for (exit = 0; edgecc_model_exit(model.handle(), exit, &info) == EDGECC_OK; ++exit) {
    if (!layer || info.layer == *layer)
      return "";
    known += (exit ? ", " : "") + std::to_string(info.layer);
  }
  if (known.empty())
    return "the model has no exits; compile it with --exit-layers";
  return "the model has no exit after layer " + std::to_string(*layer) + "; there are exits after " + known;
}

std::string chooseExits(const Model &model, Session &session, const ExitOptions &options) {
  if (!options.any())
    return "";
  size_t exit = 0;
  if (std::string fault = findExit(model, options.layer, exit); !fault.empty())
    return fault;
  Status status = Status::of([&](edgecc_error *error) {
    const int64_t forced = options.never   ? int64_t(EDGECC_EXIT_NEVER)
                           : options.layer ? int64_t(exit)
                                           : int64_t(EDGECC_EXIT_IF_SURE);
    edgecc_status code = edgecc_session_force_exit(session.handle(), forced, error);
    edgecc_exit_info info;
    for (size_t i = 0; code == EDGECC_OK && options.threshold && edgecc_model_exit(model.handle(), i, &info) == EDGECC_OK; ++i)
      code = edgecc_session_set_exit_threshold(session.handle(), i, float(*options.threshold), error);
    return code;
  });
  return status.message();
}

} // namespace edgecc::tools

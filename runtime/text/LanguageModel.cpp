#include "runtime/text/LanguageModel.h"

namespace edgecc::text {

std::string LanguageModel::narrow(const std::vector<int64_t> &tokens) {
  ids.clear();
  for (int64_t token : tokens) {
    if (token < 0 || token >= vocabulary())
      return "token " + std::to_string(token) + " is not in the model's vocabulary of " + std::to_string(vocabulary());
    ids.push(int32_t(token));
  }
  return ids.failed() ? "out of memory" : "";
}

std::string LanguageModel::find(const std::string &name) {
  return Status::of([&](edgecc_error *error) { return driver.find(name.empty() ? nullptr : name.c_str(), error); }).message();
}

std::string LanguageModel::feed(const std::vector<int64_t> &tokens, uint32_t chunk, std::vector<float> &logits) {
  if (std::string fault = narrow(tokens); !fault.empty())
    return fault;
  Status status =
      Status::of([&](edgecc_error *error) { return driver.feed(ids.data(), ids.size(), chunk, read, nullptr, error); });
  logits.assign(read.begin(), read.end());
  return status.message();
}

std::string LanguageModel::score(const std::vector<int64_t> &tokens, std::vector<float> &logits) {
  if (std::string fault = narrow(tokens); !fault.empty())
    return fault;
  Status status = Status::of([&](edgecc_error *error) { return driver.score(ids.data(), ids.size(), read, error); });
  logits.assign(read.begin(), read.end());
  return status.message();
}

std::string LanguageModel::forceExit(int64_t exit) {
  return Status::of([&](edgecc_error *error) { return edgecc_session_force_exit(session, exit, error); }).message();
}

std::string LanguageModel::draftAt(size_t exit) {
  edgecc_exit_info info;
  if (edgecc_model_exit(model, exit, &info) != EDGECC_OK)
    return "the model has no exit " + std::to_string(exit);
  const ptrdiff_t index = edgecc_model_find_resuming(model, exit);
  if (index < 0)
    return "the model cannot verify what ends after layer " + std::to_string(info.layer) + "; compile it with --exit-verify";
  if (!edgecc_model_entry_exits(model, driver.smallest().index))
    return std::string("entry '") + driver.smallest().name + "' has no exits";
  draftExit = exit;
  Status status = Status::of([&](edgecc_error *error) { return driver.describe(size_t(index), rest, error); });
  return status ? forceExit(EDGECC_EXIT_NEVER) : status.message();
}

std::string LanguageModel::draft(int64_t token, std::vector<float> &logits, float &confidence) {
  std::string fault = narrow({token});
  if (fault.empty())
    fault = forceExit(int64_t(draftExit));
  if (!fault.empty())
    return fault;
  read.clear();
  Status status = Status::of([&](edgecc_error *error) { return driver.run(driver.smallest(), ids.data(), 1, 1, read, error); });
  fault = forceExit(EDGECC_EXIT_NEVER);
  confidence = edgecc_session_exit_confidence(session, draftExit);
  logits.assign(read.begin(), read.end());
  return status ? fault : status.message();
}

std::string LanguageModel::verify(const std::vector<int64_t> &tokens, std::vector<std::vector<float>> &logits) {
  logits.clear();
  std::string fault = narrow(tokens);
  if (fault.empty())
    fault = forget(tokens.size());
  if (!fault.empty())
    return fault;
  read.clear();
  Status status =
      Status::of([&](edgecc_error *error) { return driver.run(rest, ids.data(), ids.size(), ids.size(), read, error); });
  for (const float *row = read.begin(); row != read.end(); row += vocabulary())
    logits.emplace_back(row, row + vocabulary());
  return status.message();
}

std::string LanguageModel::forget(size_t positions) {
  return Status::of([&](edgecc_error *error) { return driver.rewind(driver.position() - positions, error); }).message();
}

} // namespace edgecc::text

//===- Count.cpp - Work whose amount is known, for instruction counters ------===//
//
// Under an emulator that counts, time means nothing and instructions repeat exactly: what a call costs is the difference of two
// runs with different numbers of calls. So nothing is measured here, and nothing depends on a clock.
//
//===----------------------------------------------------------------------===//
#include "runtime/text/LanguageModel.h"
#include "tools/edgecc-bench/Bench.h"

namespace edgecc::tools {

std::string countCalls(const BenchOptions &options, bool isLanguageModel, unsigned calls) {
  Model model;
  Session session;
  edgecc_session_options sessionOptions;
  edgecc_session_options_init(&sessionOptions);
  sessionOptions.threads = 1;
  sessionOptions.context = options.context;
  if (Status status = model.open(options.path.c_str(), &options.model); !status)
    return status.message();
  if (Status status = session.open(model, &sessionOptions); !status)
    return status.message();
  if (!isLanguageModel) {
    std::map<std::string, int64_t> dims;
    if (std::string fault = chooseDims(model.handle(), options.dims, dims); !fault.empty())
      return fault;
    const ptrdiff_t entry = options.entry.empty() ? 0 : edgecc_model_find_entry(model.handle(), options.entry.c_str());
    if (entry < 0)
      return "the model has no entry '" + options.entry + "'; see edgecc-run --list";
    if (std::string fault = fillInputs(model.handle(), session.handle(), size_t(entry), dims); !fault.empty())
      return fault;
    Status status;
    for (unsigned i = 0; i < calls; ++i)
      if (status = Status::of([&](edgecc_error *error) { return edgecc_session_run(session.handle(), size_t(entry), error); });
          !status)
        return status.message();
    return "";
  }
  text::LanguageModel language(model, session);
  if (std::string fault = language.find(""); !fault.empty())
    return fault;
  std::vector<float> logits;
  // From where, how many tokens, how often.
  auto feed = [&](int64_t from, int64_t tokens, unsigned times) -> std::string {
    std::string fault;
    for (unsigned i = 0; i < times && fault.empty() && tokens > 0; ++i) {
      fault =
          Status::of([&](edgecc_error *error) { return edgecc_session_set_position(session.handle(), from, error); }).message();
      if (fault.empty())
        fault = language.feed(someTokens(tokens, language.vocabulary()), 0, logits);
    }
    return fault;
  };
  for (int64_t tokens : options.prefill)
    if (std::string fault = feed(0, tokens, calls); !fault.empty())
      return fault;
  for (int64_t context : options.decode) {
    if (std::string fault = feed(0, context - 1, 1); !fault.empty())
      return fault;
    if (std::string fault = feed(context - 1, 1, calls); !fault.empty())
      return fault;
  }
  return "";
}

} // namespace edgecc::tools

#include "tools/edgecc-bench/Profile.h"

#include "runtime/text/LanguageModel.h"

#include <cstdlib>
#include <cstring>

namespace edgecc::tools {

// "64:linear_0;4096:attention_0"
Profiler::Profiler(const edgecc_model *model) {
  edgecc_model_info info;
  edgecc_model_get_info(model, &info);
  const char *at = info.code ? edgecc_model_property(model, ("kernels." + std::string(info.code)).c_str()) : nullptr;
  while (at && *at) {
    char *colon = nullptr;
    const uint64_t offset = strtoull(at, &colon, 10);
    const size_t length = strcspn(colon, ";");
    if (*colon == ':' && length > 1)
      names[offset] = std::string(colon + 1, length - 1);
    at = colon + length + (colon[length] == ';' ? 1 : 0);
  }
}

void Profiler::attach(edgecc_session_options &options) {
  options.profiler = record;
  options.profiler_user = this;
}

void Profiler::record(void *self, uint64_t code, int64_t tasks, uint64_t begin, uint64_t end) {
  Profiler &profiler = *static_cast<Profiler *>(self);
  if (!profiler.current.empty())
    profiler.events.push_back({profiler.current, code, tasks, begin, end});
}

std::string Profiler::nameOf(const Event &event) const {
  if (const auto found = names.find(event.code); found != names.end())
    return found->second;
  return "code at " + std::to_string(event.code);
}

Json Profiler::table() const {
  struct Sum {
    uint64_t calls = 0, nanoseconds = 0;
  };
  std::vector<std::string> order;
  std::map<std::string, Sum> whole;
  std::map<std::string, std::map<std::string, Sum>> kernels;
  for (const Event &event : events) {
    if (!whole.count(event.phase))
      order.push_back(event.phase);
    Sum &sum = event.tasks ? kernels[event.phase][nameOf(event)] : whole[event.phase];
    if (event.tasks)
      whole[event.phase]; // the phase is known from its first kernel
    ++sum.calls;
    sum.nanoseconds += event.end - event.begin;
  }
  Json table = Json::array();
  for (const std::string &phase : order) {
    const Sum &all = whole[phase];
    if (all.calls == 0)
      continue;
    std::vector<std::pair<std::string, Sum>> sorted(kernels[phase].begin(), kernels[phase].end());
    Sum rest = all;
    for (const auto &[name, sum] : sorted)
      rest.nanoseconds -= std::min(rest.nanoseconds, sum.nanoseconds);
    rest.calls = 0;
    sorted.push_back({"(between kernels)", rest});
    std::sort(sorted.begin(), sorted.end(), [](auto &a, auto &b) {
      return std::make_pair(b.second.nanoseconds, a.first) < std::make_pair(a.second.nanoseconds, b.first);
    });
    Json rows = Json::array();
    for (const auto &[name, sum] : sorted)
      rows.push_back({{"name", name},
                      {"calls", double(sum.calls) / double(all.calls)},
                      {"seconds", double(sum.nanoseconds) * 1e-9 / double(all.calls)},
                      {"share", double(sum.nanoseconds) / double(std::max<uint64_t>(all.nanoseconds, 1))}});
    table.push_back({{"phase", phase},
                     {"calls", all.calls},
                     {"seconds", double(all.nanoseconds) * 1e-9 / double(all.calls)},
                     {"kernels", rows}});
  }
  return table;
}

Json Profiler::trace() const {
  Json list = Json::array();
  uint64_t start = UINT64_MAX; // a call is told after its kernels
  for (const Event &event : events)
    start = std::min(start, event.begin);
  for (const Event &event : events) {
    Json one = {{"name", event.tasks ? nameOf(event) : event.phase},
                {"cat", event.tasks ? "kernel" : "call"},
                {"ph", "X"},
                {"ts", double(event.begin - start) * 1e-3},
                {"dur", double(event.end - event.begin) * 1e-3},
                {"pid", 1},
                {"tid", 1}};
    if (event.tasks)
      one["args"] = {{"tasks", event.tasks}, {"phase", event.phase}};
    list.push_back(one);
  }
  return {{"traceEvents", list}, {"displayTimeUnit", "ms"}};
}

namespace {

std::string profileLanguageModel(const BenchOptions &options, const Model &model, Session &session, Profiler &profiler) {
  const int64_t room = edgecc_session_context(session.handle());
  text::LanguageModel language(model, session);
  if (std::string fault = language.find(""); !fault.empty())
    return fault;
  std::vector<float> logits;
  auto feed = [&](int64_t from, int64_t count, const std::string &phase) -> std::string {
    Status status = Status::of([&](edgecc_error *error) { return edgecc_session_set_position(session.handle(), from, error); });
    if (!status || count == 0)
      return status.message();
    profiler.begin(phase);
    std::string fault = language.feed(someTokens(count, language.vocabulary()), 0, logits);
    profiler.begin("");
    return fault;
  };
  for (int64_t tokens : options.prefill)
    for (unsigned round = 0; tokens <= room && round <= options.rounds; ++round) // the first warms up
      if (std::string fault = feed(0, tokens, round ? "prefill " + std::to_string(tokens) : ""); !fault.empty())
        return fault;
  for (int64_t context : options.decode) {
    if (context > room)
      continue;
    if (std::string fault = feed(0, context - 1, ""); !fault.empty())
      return fault;
    for (unsigned round = 0; round <= options.rounds; ++round)
      if (std::string fault = feed(context - 1, 1, round ? "decode at " + std::to_string(context) : ""); !fault.empty())
        return fault;
  }
  return "";
}

std::string profileEntry(const BenchOptions &options, const Model &model, Session &session, Profiler &profiler) {
  const ptrdiff_t entry = options.entry.empty() ? 0 : edgecc_model_find_entry(model.handle(), options.entry.c_str());
  edgecc_entry_info info;
  if (entry < 0 || edgecc_model_entry(model.handle(), size_t(entry), &info) != EDGECC_OK)
    return "the model has no entry '" + options.entry + "'; see edgecc-run --list";
  std::map<std::string, int64_t> dims;
  if (std::string fault = chooseDims(model.handle(), options.dims, dims); !fault.empty())
    return fault;
  if (std::string fault = fillInputs(model.handle(), session.handle(), size_t(entry), dims); !fault.empty())
    return fault;
  for (unsigned round = 0; round <= options.rounds; ++round) {
    profiler.begin(round ? info.name : "");
    Status status = Status::of([&](edgecc_error *error) { return edgecc_session_run(session.handle(), size_t(entry), error); });
    if (!status)
      return status.message();
  }
  return "";
}

} // namespace

std::string profileModel(const BenchOptions &options, bool isLanguageModel, Results &results, Json &trace) {
  Model model;
  if (Status status = model.open(options.path.c_str(), &options.model); !status)
    return status.message();
  Profiler profiler(model.handle());
  Session session;
  edgecc_session_options sessionOptions;
  edgecc_session_options_init(&sessionOptions);
  sessionOptions.threads = options.threads.front();
  sessionOptions.context = options.context;
  profiler.attach(sessionOptions);
  if (Status status = session.open(model, &sessionOptions); !status)
    return status.message();
  std::string fault =
      isLanguageModel ? profileLanguageModel(options, model, session, profiler) : profileEntry(options, model, session, profiler);
  results.profile = profiler.table();
  trace = profiler.trace();
  return fault;
}

} // namespace edgecc::tools

//===- Profile.h - Which kernel took how long -------------------------------===//
#ifndef EDGECC_TOOLS_BENCH_PROFILE_H
#define EDGECC_TOOLS_BENCH_PROFILE_H

#include "tools/edgecc-bench/Bench.h"

namespace edgecc::tools {

/// Collects what the runtime's profiler hook says, and names it.
class Profiler {
public:
  explicit Profiler(const edgecc_model *model);

  /// Into the options of the session to watch; the profiler must outlive it.
  void attach(edgecc_session_options &options);
  /// Calls of the session belong to `phase` from now on, e.g. "prefill 128"; "" is not recorded.
  void begin(const std::string &phase) { current = phase; }

  /// For each phase its kernels, the slowest first: [{phase, calls, seconds, kernels: [{name, calls, seconds, share}]}].
  Json table() const;
  /// In the format of chrome://tracing and ui.perfetto.dev.
  Json trace() const;

private:
  struct Event {
    std::string phase;
    uint64_t code;
    int64_t tasks; ///< 0: the whole call
    uint64_t begin, end;
  };
  static void record(void *self, uint64_t code, int64_t tasks, uint64_t begin, uint64_t end);
  std::string nameOf(const Event &event) const;

  std::map<uint64_t, std::string> names;
  std::string current;
  std::vector<Event> events;
};

} // namespace edgecc::tools
#endif // EDGECC_TOOLS_BENCH_PROFILE_H

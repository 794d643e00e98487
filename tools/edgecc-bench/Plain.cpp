//===- Plain.cpp - Entries without a state, single layers, loading -----------===//
#include "tools/edgecc-bench/Bench.h"

namespace edgecc::tools {
namespace {

std::string openBoth(const BenchOptions &options, unsigned threads, Model &model, Session &session) {
  if (Status status = model.open(options.path.c_str(), &options.model); !status)
    return status.message();
  edgecc_session_options sessionOptions;
  edgecc_session_options_init(&sessionOptions);
  sessionOptions.threads = threads;
  sessionOptions.context = options.context;
  return session.open(model, &sessionOptions).message();
}

/// Seconds of one call, from enough calls to fill some milliseconds; the first call is not counted.
std::string timeEntry(Session &session, size_t entry, double &seconds) {
  constexpr double kEnough = 0.02;
  Status status;
  auto run = [&] { return Status::of([&](edgecc_error *error) { return edgecc_session_run(session.handle(), entry, error); }); };
  if (status = run(); !status)
    return status.message();
  const Clock::time_point start = Clock::now();
  unsigned calls = 0;
  do {
    if (status = run(); !status)
      return status.message();
    ++calls;
    seconds = secondsSince(start) / calls;
  } while (seconds * calls < kEnough);
  return "";
}

std::string findEntry(const Model &model, const std::string &name, size_t &index) {
  const ptrdiff_t found = name.empty() ? 0 : edgecc_model_find_entry(model.handle(), name.c_str());
  index = size_t(found);
  return found < 0 ? "the model has no entry '" + name + "'; see edgecc-run --list" : "";
}

uint64_t weightBytes(const Model &model) {
  edgecc_memory_info memory;
  edgecc_model_memory(model.handle(), 0, &memory);
  return memory.weights;
}

/// The last dimension of a tensor if it is a number, else 0.
int64_t lastSize(const edgecc_model *model, const edgecc_tensor_info &tensor) {
  edgecc_extent_info extent = {};
  if (tensor.rank == 0 || edgecc_model_extent(model, &tensor, tensor.rank - 1, &extent) != EDGECC_OK)
    return 0;
  return extent.min == extent.max ? extent.min : 0;
}

} // namespace

std::string benchLoad(const BenchOptions &options, Results &results) {
  Samples modelSeconds, sessionSeconds;
  for (unsigned i = 0; i < std::max(options.rounds, 3u); ++i) {
    Model model;
    Session session;
    Clock::time_point start = Clock::now();
    if (Status status = model.open(options.path.c_str(), &options.model); !status)
      return status.message();
    modelSeconds.add(secondsSince(start));
    edgecc_session_options sessionOptions;
    edgecc_session_options_init(&sessionOptions);
    sessionOptions.context = options.context;
    start = Clock::now();
    if (Status status = session.open(model, &sessionOptions); !status)
      return status.message();
    sessionSeconds.add(secondsSince(start));
  }
  results.load = {{"model_seconds", modelSeconds.json()}, {"session_seconds", sessionSeconds.json()}};
  return "";
}

std::string benchEntry(const BenchOptions &options, Machine &machine, Results &results) {
  const uint64_t before = peakResident();
  std::map<unsigned, Samples> times;
  std::map<std::string, int64_t> dims;
  std::string name;
  edgecc_memory_info contract = {};
  edgecc_entry_info info;
  for (unsigned round = 0; round < options.rounds; ++round)
    for (unsigned threads : options.threads) {
      Model model;
      Session session;
      size_t entry = 0;
      double seconds = 0;
      if (std::string fault = openBoth(options, threads, model, session); !fault.empty())
        return fault;
      if (std::string fault = findEntry(model, options.entry, entry); !fault.empty())
        return fault;
      if (std::string fault = chooseDims(model.handle(), options.dims, dims); !fault.empty())
        return fault;
      if (std::string fault = fillInputs(model.handle(), session.handle(), entry, dims); !fault.empty())
        return fault;
      if (std::string fault = timeEntry(session, entry, seconds); !fault.empty())
        return fault;
      times[threads].add(seconds);
      results.limits[threads].read.add(machine.read(threads));
      edgecc_model_memory(model.handle(), 0, &contract);
      edgecc_model_entry(model.handle(), entry, &info);
      name = info.name;
    }
  results.memory["peak_resident_bytes"] = peakResident();
  results.memory["program_bytes"] = before;
  results.memory["contract_bytes"] = contract.total;
  for (auto &[threads, samples] : times)
    results.rows.push_back({{"what", "entry"},
                            {"entry", name},
                            {"dims", dims},
                            {"threads", threads},
                            {"seconds", samples.json()},
                            {"spread", samples.spread()}});
  return "";
}

std::string benchLinear(const BenchOptions &options, Machine &machine, Results &results) {
  Model model;
  if (Status status = model.open(options.path.c_str(), &options.model); !status)
    return status.message();
  edgecc_model_info info;
  edgecc_entry_info entry;
  edgecc_tensor_info input = {}, output = {};
  edgecc_symbol_info symbol = {};
  edgecc_model_get_info(model.handle(), &info);
  edgecc_model_entry(model.handle(), 0, &entry);
  edgecc_model_input(model.handle(), 0, 0, &input);
  edgecc_model_output(model.handle(), 0, 0, &output);
  const int64_t k = lastSize(model.handle(), input), n = lastSize(model.handle(), output);
  if (info.entry_count != 1 || info.symbol_count > 1 || entry.input_count != entry.output_count || entry.input_count == 0 || !k ||
      !n)
    return "--micro wants a model of linear layers of one shape, each with its own input [rows, k] and output [rows, n], and one "
           "size that is not fixed at most (python3 -m edgecc.bench micro makes such)";
  const bool dynamic = edgecc_model_symbol(model.handle(), 0, &symbol) == EDGECC_OK;
  edgecc_extent_info fixed = {};
  if (!dynamic)
    edgecc_model_extent(model.handle(), &input, 0, &fixed);
  const double layers = double(entry.output_count), bytes = double(weightBytes(model)) / layers;
  // Four bytes a weight are floats for sure, one or less are integers unless the user knows better.
  const bool integers = options.peak == "int8" || (options.peak == "auto" && bytes < 1.5 * double(k) * double(n));

  std::vector<int64_t> rows = dynamic ? options.rows : std::vector<int64_t>{fixed.min};
  std::map<std::pair<int64_t, unsigned>, std::pair<Samples, Samples>> times; // seconds, share
  for (unsigned round = 0; round < options.rounds; ++round)
    for (int64_t m : rows)
      for (unsigned threads : options.threads) {
        Session session;
        edgecc_session_options sessionOptions;
        edgecc_session_options_init(&sessionOptions);
        sessionOptions.threads = threads;
        if (Status status = session.open(model, &sessionOptions); !status)
          return status.message();
        std::map<std::string, int64_t> wanted, dims;
        if (dynamic)
          wanted[symbol.name] = m;
        if (std::string fault = chooseDims(model.handle(), wanted, dims); !fault.empty())
          return fault;
        if (std::string fault = fillInputs(model.handle(), session.handle(), 0, dims); !fault.empty())
          return fault;
        Results::Limits &limits = results.limits[threads];
        const double read = machine.read(threads), peak = integers ? machine.int8(threads) : machine.f32(threads);
        limits.read.add(read);
        (integers ? limits.int8 : limits.f32).add(peak);
        double seconds = 0;
        if (std::string fault = timeEntry(session, 0, seconds); !fault.empty())
          return fault;
        seconds /= layers;
        times[{m, threads}].first.add(seconds);
        // The roofline: no layer is faster than its arithmetic, nor than its weights can be read.
        if (read > 0 && peak > 0)
          times[{m, threads}].second.add(std::max(bytes / read, double(m * k * n) / peak) / seconds);
      }
  for (auto &[key, value] : times) {
    const auto [m, threads] = key;
    const auto &[seconds, share] = value;
    const Results::Limits &limits = results.limits[threads];
    const double macs = double(m * k * n), peak = (integers ? limits.int8 : limits.f32).median();
    results.rows.push_back({{"what", "linear"},
                            {"m", m},
                            {"k", k},
                            {"n", n},
                            {"layers", entry.output_count},
                            {"weight_bytes", bytes},
                            {"threads", threads},
                            {"seconds", seconds.json()},
                            {"spread", seconds.spread()},
                            {"weights_bytes_per_second", bytes / seconds.median()},
                            {"macs_per_second", macs / seconds.median()},
                            {"arithmetic", integers ? "int8" : "f32"},
                            {"bound", macs / peak > bytes / limits.read.median() ? "arithmetic" : "memory"},
                            {"share", share.json()}});
  }
  return "";
}

void measureLimits(const BenchOptions &options, Machine &machine, Results &results) {
  for (unsigned threads : options.threads) {
    Results::Limits &limits = results.limits[threads];
    if (limits.int8.empty())
      limits.int8.add(machine.int8(threads));
    if (limits.f32.empty())
      limits.f32.add(machine.f32(threads));
    if (limits.read.empty())
      limits.read.add(machine.read(threads));
  }
}

} // namespace edgecc::tools

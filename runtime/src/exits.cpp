//===- exits.cpp - Calls that end before the last layer ---------------------===//
//
// Whether a call ends early is decided in generated code, by the thresholds that it is given here. What is left to do is to
// count: the layers behind an exit have not seen the positions of calls that ended there, and show them to themselves when they
// are run again. They have room for a batch of these; before it is full, an entry of its own empties it.
//
//===----------------------------------------------------------------------===//
#include "runtime/src/session.h"
#include "runtime/src/status.h"

#include <math.h>

using namespace edgecc;
using namespace edgecc::rt;

using Long = long long;

bool edgecc_session::exitsAreFull(const fb::Entry &entry) const {
  if (!entry.exits() || !model->exitsLeavePositions())
    return false;
  // Nobody has more positions pending than the last exit's layers.
  const uint32_t last = model->exitCount() - 1;
  return pending(last) >= model->symbol(model->metadata->exits()->Get(last)->pending()).max();
}

void edgecc_session::setThresholds() {
  exitTaken = -1;
  for (uint32_t i = 0; i < model->exitCount(); ++i) {
    const bool asks = forcedExit == EDGECC_EXIT_IF_SURE;
    exits[i] = {asks ? thresholds[i] : forcedExit == int64_t(i) ? -INFINITY : INFINITY, -1};
  }
}

void edgecc_session::countExits(size_t index, int64_t before) {
  const fb::Entry &entry = *model->metadata->entries()->Get(uint32_t(index));
  lastEntry = index;
  if (!model->exitsLeavePositions())
    return;
  const int64_t taken = entry.exits() ? exitTaken : -1;
  for (uint32_t i = 0; i < model->exitCount(); ++i)
    if (taken < 0 || int64_t(i) < taken)
      seen[i] = position;
  if (position == before || entry.resumes() >= 0)
    return;
  if (taken < 0 || left.exit != taken || left.end != before)
    left = {taken, before, before};
  left.end = position;
}

edgecc_status edgecc_session::checkResume(const fb::Entry &entry, int64_t count, edgecc_error *error) const {
  if (entry.resumes() < 0 || (left.exit == entry.resumes() && left.begin <= position && count <= left.end - position))
    return EDGECC_OK;
  const uint32_t layer = model->metadata->exits()->Get(uint32_t(entry.resumes()))->layer();
  return fail(error, EDGECC_INVALID_ARGUMENT,
              "entry '%s' goes on behind layer %u with %lld positions from %lld on, but calls that ended there have left %lld "
              "from there on",
              entry.name()->c_str(), unsigned(layer), Long(count), Long(position),
              Long(left.exit == entry.resumes() && left.begin <= position && position < left.end ? left.end - position : 0));
}

void edgecc_session::forgetExits(int64_t from) {
  for (uint32_t i = 0; i < model->exitCount(); ++i)
    if (seen[i] > from)
      seen[i] = from;
  if (from < left.begin)
    left.exit = -1;
}

extern "C" {

edgecc_status edgecc_model_exit(const edgecc_model *model, size_t index, edgecc_exit_info *info) {
  if (index >= model->exitCount())
    return EDGECC_INVALID_ARGUMENT;
  const fb::Exit &exit = *model->metadata->exits()->Get(uint32_t(index));
  *info = {exit.layer(), exit.threshold(), edgecc_exit_confidence(exit.confidence())};
  return EDGECC_OK;
}

uint32_t edgecc_model_layers(const edgecc_model *model) { return model->metadata->layers(); }

const char *edgecc_exit_confidence_name(edgecc_exit_confidence confidence) {
  const char *const names[] = {"margin", "entropy", "state"};
  return unsigned(confidence) < sizeof(names) / sizeof(*names) ? names[confidence] : "unknown";
}

int edgecc_model_entry_exits(const edgecc_model *model, size_t entry) {
  return entry < model->metadata->entries()->size() && model->metadata->entries()->Get(uint32_t(entry))->exits();
}

ptrdiff_t edgecc_model_find_resuming(const edgecc_model *model, size_t exit) {
  for (uint32_t i = 0; i < model->metadata->entries()->size(); ++i)
    if (const int32_t resumes = model->metadata->entries()->Get(i)->resumes(); resumes >= 0 && size_t(resumes) == exit)
      return ptrdiff_t(i);
  return -1;
}

edgecc_status edgecc_session_set_exit_threshold(edgecc_session *session, size_t exit, float threshold, edgecc_error *error) {
  if (exit >= session->model->exitCount())
    return fail(error, EDGECC_INVALID_ARGUMENT, "there is no exit %llu, the model has %u", static_cast<unsigned long long>(exit),
                unsigned(session->model->exitCount()));
  if (!(threshold >= 0 && threshold <= 1))
    return fail(error, EDGECC_INVALID_ARGUMENT, "the threshold of an exit is between 0 and 1, not %g", double(threshold));
  session->thresholds[exit] = threshold;
  return EDGECC_OK;
}

edgecc_status edgecc_session_force_exit(edgecc_session *session, int64_t exit, edgecc_error *error) {
  if (exit < EDGECC_EXIT_NEVER || exit >= int64_t(session->model->exitCount()))
    return fail(error, EDGECC_INVALID_ARGUMENT, "there is no exit %lld, the model has %u", Long(exit),
                unsigned(session->model->exitCount()));
  session->forcedExit = exit;
  return EDGECC_OK;
}

void edgecc_session_exit_report(const edgecc_session *session, edgecc_exit_report *report) {
  const fb::Model &model = *session->model->metadata;
  *report = {-1, 0, 0, model.layers()};
  if (session->lastEntry >= model.entries()->size())
    return;
  const fb::Entry &entry = *model.entries()->Get(uint32_t(session->lastEntry));
  report->first_layer = entry.resumes() >= 0 ? model.exits()->Get(uint32_t(entry.resumes()))->layer() : 0;
  if (int64_t(session->lastEntry) == model.fill())
    report->first_layer = report->last_layer;
  for (uint32_t i = 0; entry.exits() && i < session->model->exitCount(); ++i)
    if (session->exits[i].confidence >= 0)
      report->confidence = session->exits[i].confidence;
  if (!entry.exits() || session->exitTaken < 0)
    return;
  report->exit = session->exitTaken;
  report->last_layer = model.exits()->Get(uint32_t(session->exitTaken))->layer();
}

float edgecc_session_exit_confidence(const edgecc_session *session, size_t exit) {
  return exit < session->model->exitCount() ? session->exits[exit].confidence : -1;
}

} // extern "C"

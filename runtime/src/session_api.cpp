//===- session_api.cpp - Sessions through the C interface -------------------===//
#include "runtime/src/session.h"
#include "runtime/src/status.h"

#include <new>
#include <stdlib.h>
#include <string.h>

using namespace edgecc;
using namespace edgecc::rt;

namespace {
/// Before the states in what edgecc_session_save writes. The hash is of the metadata: states of another model mean nothing.
struct SavedHeader {
  char magic[4];
  uint32_t version;
  int64_t context, position;
  uint64_t bytes;
  uint8_t metadataSha256[32];
};
constexpr char kSavedMagic[4] = {'E', 'D', 'G', 'S'};
constexpr uint32_t kSavedVersion = 1;

/// After the states: what the layers behind each exit have seen.
uint64_t seenBytes(const edgecc_session &session) {
  return session.model->exitsLeavePositions() ? session.model->exitCount() * sizeof(int64_t) : 0;
}

SavedHeader describe(const edgecc_session &session) {
  SavedHeader saved;
  memcpy(saved.magic, kSavedMagic, sizeof(saved.magic));
  saved.version = kSavedVersion;
  saved.context = session.context;
  saved.position = session.position;
  saved.bytes = session.model->stateBytes(session.context) + seenBytes(session);
  memcpy(saved.metadataSha256, session.model->file.data() + offsetof(FileHeader, metadataSha256), sizeof(saved.metadataSha256));
  return saved;
}

/// Calls copy(offset in the saved states, state, bytes) for each state.
template <typename Copy> void copyStates(const edgecc_session &session, Copy copy) {
  uint64_t offset = 0;
  for (uint32_t i = 0; i < session.model->metadata->states()->size(); ++i) {
    copy(offset, session.statePointers[i], session.model->exactStateBytes(i, session.context));
    offset += session.model->stateBytes(i, session.context);
  }
}

edgecc_status noEntry(const edgecc_session *session, const char *name, edgecc_error *error) {
  return fail(error, EDGECC_INVALID_ARGUMENT, "%s has no entry '%s'; its first is '%s'",
              session->model->metadata->name()->c_str(), name ? name : "",
              session->model->metadata->entries()->Get(0)->name()->c_str());
}
} // namespace

extern "C" {

void edgecc_session_options_init(edgecc_session_options *options) {
  memset(options, 0, sizeof(*options));
  options->size = sizeof(*options);
}

edgecc_status edgecc_session_open(edgecc_model *model, const edgecc_session_options *given, edgecc_session **result,
                                  edgecc_error *error) {
  edgecc_session_options options;
  edgecc_session_options_init(&options);
  if (!model || !result || (given && given->size == 0))
    return fail(error, EDGECC_INVALID_ARGUMENT,
                "edgecc_session_open: no model, no place for the session, or options without edgecc_session_options_init");
  *result = nullptr;
  if (given)
    memcpy(&options, given, given->size < sizeof(options) ? given->size : sizeof(options));
  // The pool inside is aligned to cache lines.
  void *place = nullptr;
  if (posix_memalign(&place, alignof(edgecc_session), sizeof(edgecc_session)) != 0)
    return fail(error, EDGECC_OUT_OF_MEMORY, "the system has no memory left");
  edgecc_session *session = new (place) edgecc_session(model);
  if (edgecc_status status = session->open(options, error)) {
    edgecc_session_close(session);
    return status;
  }
  *result = session;
  return EDGECC_OK;
}

void edgecc_session_close(edgecc_session *session) {
  if (!session)
    return;
  session->~edgecc_session();
  free(session);
}

edgecc_status edgecc_session_set_input(edgecc_session *session, size_t entry, size_t index, edgecc_type type,
                                       const int64_t *shape, uint32_t rank, const void *data, edgecc_error *error) {
  return session->setInput(entry, index, type, shape, rank, data, error);
}

edgecc_status edgecc_session_set_input_by_name(edgecc_session *session, const char *entry, const char *input, edgecc_type type,
                                               const int64_t *shape, uint32_t rank, const void *data, edgecc_error *error) {
  const ptrdiff_t entryIndex = edgecc_model_find_entry(session->model, entry);
  if (entryIndex < 0)
    return noEntry(session, entry, error);
  const ptrdiff_t index = edgecc_model_find_input(session->model, size_t(entryIndex), input);
  if (index >= 0)
    return session->setInput(size_t(entryIndex), size_t(index), type, shape, rank, data, error);
  // Name what there is: a wrong name is the commonest mistake.
  char known[512] = "";
  size_t used = 0;
  const fb::Entry &owner = *session->model->metadata->entries()->Get(uint32_t(entryIndex));
  for (uint32_t i = 0; i < inputCount(owner) && used < sizeof(known); ++i)
    used += size_t(snprintf(known + used, sizeof(known) - used, "%s'%s'", used ? ", " : "", inputAt(owner, i).name()->c_str()));
  return fail(error, EDGECC_INVALID_ARGUMENT, "entry '%s' has no input '%s'; its inputs are %s", entry, input ? input : "",
              used ? known : "none");
}

edgecc_status edgecc_session_run(edgecc_session *session, size_t entry, edgecc_error *error) {
  return session->run(entry, error);
}

edgecc_status edgecc_session_run_by_name(edgecc_session *session, const char *entry, edgecc_error *error) {
  const ptrdiff_t index = edgecc_model_find_entry(session->model, entry);
  return index < 0 ? noEntry(session, entry, error) : session->run(size_t(index), error);
}

edgecc_status edgecc_session_output(const edgecc_session *session, size_t entryIndex, size_t index, edgecc_output *output,
                                    edgecc_error *error) {
  const auto &entries = *session->model->metadata->entries();
  if (entryIndex >= entries.size() || index >= entries.Get(uint32_t(entryIndex))->outputs()->size())
    return fail(error, EDGECC_INVALID_ARGUMENT, "there is no output %llu of entry %llu", static_cast<unsigned long long>(index),
                static_cast<unsigned long long>(entryIndex));
  const fb::Tensor &tensor = *entries.Get(uint32_t(entryIndex))->outputs()->Get(uint32_t(index));
  const Slot &slot = session->entries[entryIndex].outputs[index];
  if (!slot.filled)
    return fail(error, EDGECC_INVALID_ARGUMENT, "output '%s': entry '%s' has not run yet", tensor.name()->c_str(),
                entries.Get(uint32_t(entryIndex))->name()->c_str());
  *output = {edgecc_type(tensor.type()), tensor.shape()->size(), slot.shape, slot.data, size_t(slot.bytes)};
  return EDGECC_OK;
}

int64_t edgecc_session_context(const edgecc_session *session) { return session->context; }
uint32_t edgecc_session_threads(const edgecc_session *session) { return session->pool.threads(); }
uint64_t edgecc_session_memory(const edgecc_session *session) { return session->memory(); }
int64_t edgecc_session_position(const edgecc_session *session) { return session->position; }

edgecc_status edgecc_session_set_position(edgecc_session *session, int64_t position, edgecc_error *error) {
  return session->setPosition(position, error);
}

void edgecc_session_reset(edgecc_session *session) {
  session->zeroStates(/*onlyWithoutPositions=*/false);
  session->position = 0;
  session->forgetExits(0);
}

size_t edgecc_session_save_size(const edgecc_session *session) {
  return size_t(sizeof(SavedHeader) + session->model->stateBytes(session->context) + seenBytes(*session));
}

edgecc_status edgecc_session_save(const edgecc_session *session, void *data, size_t size, edgecc_error *error) {
  const size_t needed = edgecc_session_save_size(session);
  if (size < needed)
    return fail(error, EDGECC_INVALID_ARGUMENT, "saving the session needs %llu bytes, but %llu were given",
                static_cast<unsigned long long>(needed), static_cast<unsigned long long>(size));
  const SavedHeader saved = describe(*session);
  memcpy(data, &saved, sizeof(saved));
  const uint64_t extra = seenBytes(*session);
  uint8_t *to = static_cast<uint8_t *>(data) + sizeof(saved);
  memset(to, 0, saved.bytes - extra);
  copyStates(*session, [&](uint64_t offset, uint8_t *state, uint64_t bytes) { memcpy(to + offset, state, bytes); });
  memcpy(to + saved.bytes - extra, session->seen, extra);
  return EDGECC_OK;
}

edgecc_status edgecc_session_restore(edgecc_session *session, const void *data, size_t size, edgecc_error *error) {
  const SavedHeader own = describe(*session);
  SavedHeader saved;
  if (size < sizeof(saved) || size - sizeof(saved) < own.bytes)
    return fail(error, EDGECC_INVALID_ARGUMENT, "the saved session has %llu bytes, this one needs %llu",
                static_cast<unsigned long long>(size), static_cast<unsigned long long>(sizeof(saved) + own.bytes));
  memcpy(&saved, data, sizeof(saved));
  if (memcmp(saved.magic, own.magic, sizeof(saved.magic)) != 0 || saved.version != own.version || saved.bytes != own.bytes ||
      memcmp(saved.metadataSha256, own.metadataSha256, sizeof(saved.metadataSha256)) != 0)
    return fail(error, EDGECC_INVALID_ARGUMENT, "this is not a saved session of %s", session->model->metadata->name()->c_str());
  if (saved.context != own.context || saved.position < 0 || saved.position > own.context)
    return fail(error, EDGECC_INVALID_ARGUMENT,
                "the saved session has position %lld in a context of %lld, this one has a context of %lld",
                static_cast<long long>(saved.position), static_cast<long long>(saved.context),
                static_cast<long long>(own.context));
  const uint64_t extra = seenBytes(*session);
  const uint8_t *from = static_cast<const uint8_t *>(data) + sizeof(saved), *seen = from + saved.bytes - extra;
  for (uint32_t i = 0; extra && i < session->model->exitCount(); ++i) {
    int64_t positions;
    memcpy(&positions, seen + i * sizeof(positions), sizeof(positions));
    const int64_t most = session->model->symbol(session->model->metadata->exits()->Get(i)->pending()).max();
    if (positions < 0 || positions > saved.position || saved.position - positions > most)
      return fail(error, EDGECC_INVALID_ARGUMENT, "the saved session has %lld of %lld positions behind exit %u, which cannot be",
                  static_cast<long long>(positions), static_cast<long long>(saved.position), unsigned(i));
  }
  copyStates(*session, [&](uint64_t offset, uint8_t *state, uint64_t bytes) { memcpy(state, from + offset, bytes); });
  memcpy(session->seen, seen, extra);
  session->position = saved.position;
  session->left.exit = -1;
  return EDGECC_OK;
}

} // extern "C"

//===- edgecc.h - The runtime's C interface ---------------------------------===//
//
// Open a model.edge, make a session, set inputs, run an entry, read outputs. C first, so that every language can call it.
//
// Rules that hold for all functions:
// - Names and pointers that come out belong to the model or session and live as long as it, unless said otherwise.
// - A function that can fail returns a status and, where `error` is not NULL, writes a sentence with names and numbers.
//   What failed changed nothing: the model or session stays usable.
// - A model may be used from any number of threads at once; a session from one at a time. Sessions are independent.
// - Option structs start with their size: set them up with the `_init` function, so that an old program keeps working
//   with a newer library.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_EDGECC_H
#define EDGECC_EDGECC_H

#include "edgecc/abi.h"

#include <stddef.h>

#if defined(__GNUC__)
#define EDGECC_API __attribute__((visibility("default")))
#else
#define EDGECC_API
#endif

#ifdef __cplusplus
extern "C" {
#endif

typedef enum edgecc_status {
  EDGECC_OK = 0,
  EDGECC_INVALID_ARGUMENT = 1, ///< wrong name, type, shape or size; the sentence says which and what is allowed
  EDGECC_MALFORMED = 2,        ///< the file is damaged or was not written by edgecc
  EDGECC_UNSUPPORTED = 3,      ///< a sound file, but not for this runtime or processor
  EDGECC_IO = 4,               ///< the operating system refused
  EDGECC_OUT_OF_MEMORY = 5,    ///< the memory limit, or the machine
  EDGECC_CONTEXT_FULL = 6      ///< the call would go beyond the session's context length
} edgecc_status;

typedef struct edgecc_error {
  char message[1024]; ///< NUL-terminated
} edgecc_error;

/// In the order of ElementType in runtime/schema/model.fbs.
typedef enum edgecc_type {
  EDGECC_F32 = 0,
  EDGECC_F16,
  EDGECC_BF16,
  EDGECC_F64,
  EDGECC_I64,
  EDGECC_I32,
  EDGECC_I16,
  EDGECC_I8,
  EDGECC_U64,
  EDGECC_U32,
  EDGECC_U16,
  EDGECC_U8,
  EDGECC_BOOL
} edgecc_type;

/// "f32", "i64", "bool", ...
EDGECC_API const char *edgecc_type_name(edgecc_type type);
EDGECC_API size_t edgecc_type_size(edgecc_type type);
EDGECC_API const char *edgecc_status_name(edgecc_status status);
/// "0.1.0"
EDGECC_API const char *edgecc_version(void);

//===-- Model: a verified, read-only file --------------------------------------===//

typedef struct edgecc_model edgecc_model;

/// For --code=static: the functions that the generated object file defines, in any order.
typedef struct edgecc_static_entry {
  const char *name;
  edgecc_entry function;
} edgecc_static_entry;

typedef struct edgecc_static_code {
  uint32_t abi_version; ///< EDGECC_ABI_VERSION of the compiler that generated the code
  uint32_t entry_count;
  /// Must equal the property "build_id" of the model where both have one: a table for another model would read wild memory.
  const char *build_id;
  const edgecc_static_entry *entries;
} edgecc_static_code;

enum {
  /// Compare the SHA-256 of every segment. Without it: the metadata's and the used code's always, the others' only in files
  /// of up to 4 MiB (a few milliseconds), since hashing gigabytes of weights would cost more than reading them.
  EDGECC_VERIFY_ALL = 1u << 0,
  /// No code is mapped: the model can be looked at on any processor, but has no sessions.
  EDGECC_INSPECT_ONLY = 1u << 1
};

typedef struct edgecc_model_options {
  size_t size;
  uint32_t flags;
  /// CPU features that may be used: "baseline", or names separated by commas ("dotprod,fp16"), or the name of a code segment.
  /// NULL: the environment variable EDGECC_CPU, or, without it, all that the processor has. Never more than the processor has.
  const char *cpu;
  const edgecc_static_code *code; ///< NULL: the code in the file
  uint64_t memory_limit;          ///< bytes for weights, states, arena, inputs and outputs of a session; 0: no limit
} edgecc_model_options;

EDGECC_API void edgecc_model_options_init(edgecc_model_options *options);

/// `options` may be NULL. The file is mapped and must not change while the model lives.
EDGECC_API edgecc_status edgecc_model_open(const char *path, const edgecc_model_options *options, edgecc_model **model,
                                           edgecc_error *error);
/// `data` must outlive the model and its sessions; it is used in place if it is aligned to EDGECC_ALIGNMENT, else copied.
EDGECC_API edgecc_status edgecc_model_open_memory(const void *data, size_t size, const edgecc_model_options *options,
                                                  edgecc_model **model, edgecc_error *error);
/// NULL is allowed. Sessions keep what they need alive: the order of closing does not matter.
EDGECC_API void edgecc_model_close(edgecc_model *model);

//===-- Inspection -------------------------------------------------------------===//

typedef enum edgecc_symbol_role { EDGECC_FREE = 0, EDGECC_POSITION = 1, EDGECC_CAPACITY = 2 } edgecc_symbol_role;

typedef struct edgecc_model_info {
  const char *name, *compiler, *command_line, *source_sha256;
  const char *code; ///< the name of the code segment in use, "static", or NULL (inspection only)
  uint32_t abi_version;
  uint64_t features, file_size, metadata_size;
  size_t symbol_count, state_count, entry_count, segment_count, property_count;
} edgecc_model_info;

typedef struct edgecc_symbol_info {
  const char *name;
  int64_t min, max;
  edgecc_symbol_role role;
} edgecc_symbol_info;

typedef struct edgecc_tensor_info {
  const char *name;
  edgecc_type type;
  uint32_t rank;
  const void *tensor; ///< for edgecc_model_extent
} edgecc_tensor_info;

typedef struct edgecc_extent_info {
  int64_t min, max; ///< bounds; equal for a constant
  char text[128];   ///< "past + sequence"; cut with "..." if longer
} edgecc_extent_info;

typedef struct edgecc_entry_info {
  const char *name;
  size_t input_count, output_count; ///< optional inputs are counted; they come last
  uint64_t arena_size;
  int advances;      ///< whether a call moves the session's position
  const void *entry; ///< for edgecc_model_advance
} edgecc_entry_info;

typedef enum edgecc_segment_kind {
  EDGECC_WEIGHTS = 0,
  EDGECC_CODE = 1,
  EDGECC_TEXT = 2, ///< tokenizer and chat template (text.h)
  EDGECC_LEDGER = 3
} edgecc_segment_kind;

typedef struct edgecc_segment_info {
  const char *name;
  edgecc_segment_kind kind;
  uint64_t offset, length, alignment;
  const uint8_t *sha256;    ///< 32 bytes
  const char *architecture; ///< Code only, else ""
  size_t feature_count;
  const void *data; ///< mapped, read-only
} edgecc_segment_info;

typedef struct edgecc_memory_info {
  uint64_t weights;            ///< used in place from the mapped file
  uint64_t arena;              ///< the largest entry's
  uint64_t states;             ///< at the context length asked for
  uint64_t bytes_per_position; ///< what one more position costs
  uint64_t total;
} edgecc_memory_info;

EDGECC_API void edgecc_model_get_info(const edgecc_model *model, edgecc_model_info *info);
/// An index beyond the count gives EDGECC_INVALID_ARGUMENT, here and below.
EDGECC_API edgecc_status edgecc_model_symbol(const edgecc_model *model, size_t index, edgecc_symbol_info *info);
EDGECC_API edgecc_status edgecc_model_state(const edgecc_model *model, size_t index, edgecc_tensor_info *info);
EDGECC_API edgecc_status edgecc_model_entry(const edgecc_model *model, size_t index, edgecc_entry_info *info);
EDGECC_API edgecc_status edgecc_model_input(const edgecc_model *model, size_t entry, size_t index, edgecc_tensor_info *info);
/// Whether a call may leave the input out: the model counts these values by itself (a mask without padding, positions, lengths),
/// and a call that gives others is refused.
EDGECC_API int edgecc_model_input_is_optional(const edgecc_model *model, size_t entry, size_t index);
/// Writes which values the input may have: "must be 0 to 49", "optional, must count up from past", or "" if any will do.
EDGECC_API void edgecc_model_input_values(const edgecc_model *model, size_t entry, size_t index, char *text, size_t size);
/// Whether the input's integers have a range, as ids of a vocabulary have; then it is [*low, *high].
EDGECC_API int edgecc_model_input_range(const edgecc_model *model, size_t entry, size_t index, int64_t *low, int64_t *high);
EDGECC_API edgecc_status edgecc_model_output(const edgecc_model *model, size_t entry, size_t index, edgecc_tensor_info *info);
EDGECC_API edgecc_status edgecc_model_extent(const edgecc_model *model, const edgecc_tensor_info *tensor, uint32_t dimension,
                                             edgecc_extent_info *info);
/// What a call of the entry adds to the position; text "" if nothing.
EDGECC_API edgecc_status edgecc_model_advance(const edgecc_model *model, const edgecc_entry_info *entry,
                                              edgecc_extent_info *info);
EDGECC_API edgecc_status edgecc_model_segment(const edgecc_model *model, size_t index, edgecc_segment_info *info);
EDGECC_API const char *edgecc_model_segment_feature(const edgecc_model *model, size_t segment, size_t index);
EDGECC_API edgecc_status edgecc_model_property_at(const edgecc_model *model, size_t index, const char **key, const char **value);
/// NULL if the model has no such property.
EDGECC_API const char *edgecc_model_property(const edgecc_model *model, const char *key);
/// Indices by name, -1 if there is none.
EDGECC_API ptrdiff_t edgecc_model_find_entry(const edgecc_model *model, const char *name);
EDGECC_API ptrdiff_t edgecc_model_find_input(const edgecc_model *model, size_t entry, const char *name);
EDGECC_API ptrdiff_t edgecc_model_find_output(const edgecc_model *model, size_t entry, const char *name);
/// The memory contract at a context length (clamped to the model's bounds; ignored by a model without a capacity).
EDGECC_API void edgecc_model_memory(const edgecc_model *model, int64_t context, edgecc_memory_info *info);

/// How sure a model is at an exit, from 0 to 1.
typedef enum edgecc_exit_confidence {
  EDGECC_MARGIN = 0,  ///< the likeliest answer's probability less the next one's
  EDGECC_ENTROPY = 1, ///< 1 - entropy / log(answers)
  EDGECC_STATE = 2    ///< the cosine of the hidden states before and after the last layer
} edgecc_exit_confidence;

typedef struct edgecc_exit_info {
  uint32_t layer;  ///< a call that ends here has run so many layers
  float threshold; ///< the default of a session
  edgecc_exit_confidence confidence;
} edgecc_exit_info;

EDGECC_API const char *edgecc_exit_confidence_name(edgecc_exit_confidence confidence);
/// In the order of their layers; an index beyond the last gives EDGECC_INVALID_ARGUMENT.
EDGECC_API edgecc_status edgecc_model_exit(const edgecc_model *model, size_t index, edgecc_exit_info *info);
/// Layers of a model with exits, else 0.
EDGECC_API uint32_t edgecc_model_layers(const edgecc_model *model);
/// Whether calls of the entry can end at an exit.
EDGECC_API int edgecc_model_entry_exits(const edgecc_model *model, size_t entry);
/// The entry that goes on behind an exit for positions whose calls ended there, -1 if there is none: rewind to the first of them
/// and run it on as many tokens; it gives what the calls would have given without the exit.
EDGECC_API ptrdiff_t edgecc_model_find_resuming(const edgecc_model *model, size_t exit);

//===-- Session: states, arena, threads ----------------------------------------===//

typedef struct edgecc_session edgecc_session;

/// Called on the thread of edgecc_session_run after each parallel kernel, and after the whole call with `tasks` 0. `code`: where
/// the kernel or entry starts in the code segment in use (with --code=static its address); the property "kernels.NAME" of the
/// model, NAME being the code segment's, has the kernels' names. Times are nanoseconds of the monotonic clock.
typedef void (*edgecc_profiler)(void *user, uint64_t code, int64_t tasks, uint64_t begin, uint64_t end);

typedef struct edgecc_session_options {
  size_t size;
  uint32_t threads;         ///< that work on a call, the caller's included; 0: the performance cores
  int64_t context;          ///< positions to have room for; 0: the most that the model and the memory limit allow
  uint64_t memory_limit;    ///< bytes; 0: the model's limit
  edgecc_profiler profiler; ///< NULL: no profile, at no cost
  void *profiler_user;      ///< handed to the profiler
} edgecc_session_options;

EDGECC_API void edgecc_session_options_init(edgecc_session_options *options);
EDGECC_API edgecc_status edgecc_session_open(edgecc_model *model, const edgecc_session_options *options, edgecc_session **session,
                                             edgecc_error *error);
EDGECC_API void edgecc_session_close(edgecc_session *session);

/// Copies a contiguous, row-major tensor of the given shape. It stays set until it is set again. An optional input is set for the
/// entry's next successful run only, and `data` NULL takes it back. Integers that are looked up in a table are checked here, the
/// values of optional inputs by the run.
EDGECC_API edgecc_status edgecc_session_set_input(edgecc_session *session, size_t entry, size_t index, edgecc_type type,
                                                  const int64_t *shape, uint32_t rank, const void *data, edgecc_error *error);
EDGECC_API edgecc_status edgecc_session_set_input_by_name(edgecc_session *session, const char *entry, const char *input,
                                                          edgecc_type type, const int64_t *shape, uint32_t rank, const void *data,
                                                          edgecc_error *error);
/// Sizes come from the inputs' shapes; all inputs of the entry that are not optional must be set. A refused run changes nothing.
EDGECC_API edgecc_status edgecc_session_run(edgecc_session *session, size_t entry, edgecc_error *error);
EDGECC_API edgecc_status edgecc_session_run_by_name(edgecc_session *session, const char *entry, edgecc_error *error);

typedef struct edgecc_output {
  edgecc_type type;
  uint32_t rank;
  const int64_t *shape; ///< `rank` sizes
  const void *data;     ///< contiguous, row-major
  size_t bytes;
} edgecc_output;

/// The result of the entry's last successful run; valid until the entry runs again or the session is closed.
EDGECC_API edgecc_status edgecc_session_output(const edgecc_session *session, size_t entry, size_t index, edgecc_output *output,
                                               edgecc_error *error);

enum { EDGECC_EXIT_IF_SURE = -1, EDGECC_EXIT_NEVER = -2 };

/// From the next call on; between 0 and 1, which only absolute certainty reaches.
EDGECC_API edgecc_status edgecc_session_set_exit_threshold(edgecc_session *session, size_t exit, float threshold,
                                                           edgecc_error *error);
/// From the next call on: always this exit, however sure it is, or EDGECC_EXIT_NEVER, or again EDGECC_EXIT_IF_SURE.
EDGECC_API edgecc_status edgecc_session_force_exit(edgecc_session *session, int64_t exit, edgecc_error *error);

typedef struct edgecc_exit_report {
  int64_t exit;                     ///< -1: the call went to the end
  float confidence;                 ///< at the last exit that it came to; 0 if there was none
  uint32_t first_layer, last_layer; ///< it ran the layers [first_layer, last_layer)
} edgecc_exit_report;

/// Of the last successful run, of whichever entry.
EDGECC_API void edgecc_session_exit_report(const edgecc_session *session, edgecc_exit_report *report);
/// How sure the last run was at this exit; -1 if it did not come there.
EDGECC_API float edgecc_session_exit_confidence(const edgecc_session *session, size_t exit);

EDGECC_API int64_t edgecc_session_context(const edgecc_session *session);
EDGECC_API uint32_t edgecc_session_threads(const edgecc_session *session);
/// Bytes the session holds now, the mapped weights included.
EDGECC_API uint64_t edgecc_session_memory(const edgecc_session *session);
EDGECC_API int64_t edgecc_session_position(const edgecc_session *session);
/// Rewinds to an earlier position: what came after it is forgotten. Going forward is refused, and so is rewinding (but to 0)
/// a model with a state that has no positions (a recurrent state): save and restore it instead.
EDGECC_API edgecc_status edgecc_session_set_position(edgecc_session *session, int64_t position, edgecc_error *error);
/// Position 0 and all states zero, as after opening.
EDGECC_API void edgecc_session_reset(edgecc_session *session);

/// Bytes that edgecc_session_save writes.
EDGECC_API size_t edgecc_session_save_size(const edgecc_session *session);
EDGECC_API edgecc_status edgecc_session_save(const edgecc_session *session, void *data, size_t size, edgecc_error *error);
/// Takes what a session of the same model and context length saved.
EDGECC_API edgecc_status edgecc_session_restore(edgecc_session *session, const void *data, size_t size, edgecc_error *error);

#ifdef __cplusplus
}
#endif
#endif // EDGECC_EDGECC_H

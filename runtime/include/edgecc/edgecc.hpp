//===- edgecc.hpp - The C interface with owners -----------------------------===//
//
// Why so thin: handles close themselves and types carry their enum; everything else is the C interface, and stays reachable
// through handle(). No exceptions: a call returns a Status that says whether it worked and, if not, why.
//
//===----------------------------------------------------------------------===//
#ifndef EDGECC_EDGECC_HPP
#define EDGECC_EDGECC_HPP

#include "edgecc/edgecc.h"

#include <memory>
#include <vector>

namespace edgecc {

/// `if (Status status = ...; !status) print(status.message())`
class [[nodiscard]] Status {
public:
  explicit operator bool() const { return code_ == EDGECC_OK; }
  edgecc_status code() const { return code_; }
  /// Returns "" for success.
  const char *message() const { return code_ == EDGECC_OK ? "" : error.message; }

  /// Runs a C call that takes an edgecc_error and keeps what it says.
  template <typename Call> static Status of(Call call) {
    Status status;
    status.code_ = call(&status.error);
    return status;
  }

private:
  edgecc_status code_ = EDGECC_OK;
  edgecc_error error = {{0}};
};

template <typename T> struct TypeOf;
template <> struct TypeOf<float> { static constexpr edgecc_type value = EDGECC_F32; };
template <> struct TypeOf<double> { static constexpr edgecc_type value = EDGECC_F64; };
template <> struct TypeOf<int64_t> { static constexpr edgecc_type value = EDGECC_I64; };
template <> struct TypeOf<int32_t> { static constexpr edgecc_type value = EDGECC_I32; };
template <> struct TypeOf<int16_t> { static constexpr edgecc_type value = EDGECC_I16; };
template <> struct TypeOf<int8_t> { static constexpr edgecc_type value = EDGECC_I8; };
template <> struct TypeOf<uint64_t> { static constexpr edgecc_type value = EDGECC_U64; };
template <> struct TypeOf<uint32_t> { static constexpr edgecc_type value = EDGECC_U32; };
template <> struct TypeOf<uint16_t> { static constexpr edgecc_type value = EDGECC_U16; };
template <> struct TypeOf<uint8_t> { static constexpr edgecc_type value = EDGECC_U8; };
template <> struct TypeOf<bool> { static constexpr edgecc_type value = EDGECC_BOOL; };

class Model {
public:
  Status open(const char *path, const edgecc_model_options *options = nullptr) {
    edgecc_model *model = nullptr;
    Status status = Status::of([&](edgecc_error *error) { return edgecc_model_open(path, options, &model, error); });
    owner.reset(model);
    return status;
  }
  Status openMemory(const void *data, size_t size, const edgecc_model_options *options = nullptr) {
    edgecc_model *model = nullptr;
    Status status = Status::of([&](edgecc_error *error) { return edgecc_model_open_memory(data, size, options, &model, error); });
    owner.reset(model);
    return status;
  }
  edgecc_model *handle() const { return owner.get(); }

private:
  struct Close {
    void operator()(edgecc_model *model) const { edgecc_model_close(model); }
  };
  std::unique_ptr<edgecc_model, Close> owner;
};

class Session {
public:
  Status open(const Model &model, const edgecc_session_options *options = nullptr) {
    edgecc_session *session = nullptr;
    Status status = Status::of([&](edgecc_error *error) { return edgecc_session_open(model.handle(), options, &session, error); });
    owner.reset(session);
    return status;
  }
  /// Copies a contiguous, row-major tensor.
  template <typename T> Status setInput(const char *entry, const char *input, const std::vector<int64_t> &shape, const T *data) {
    return Status::of([&](edgecc_error *error) {
      return edgecc_session_set_input_by_name(handle(), entry, input, TypeOf<T>::value, shape.data(), uint32_t(shape.size()), data, error);
    });
  }
  Status run(const char *entry) {
    return Status::of([&](edgecc_error *error) { return edgecc_session_run_by_name(handle(), entry, error); });
  }
  /// By the output's name; valid until the entry runs again.
  Status output(const edgecc_model *model, const char *entry, const char *name, edgecc_output &result) const {
    const ptrdiff_t entryIndex = edgecc_model_find_entry(model, entry);
    const ptrdiff_t index = entryIndex < 0 ? -1 : edgecc_model_find_output(model, size_t(entryIndex), name);
    return Status::of([&](edgecc_error *error) { return edgecc_session_output(handle(), size_t(entryIndex), size_t(index), &result, error); });
  }
  edgecc_session *handle() const { return owner.get(); }

private:
  struct Close {
    void operator()(edgecc_session *session) const { edgecc_session_close(session); }
  };
  std::unique_ptr<edgecc_session, Close> owner;
};

} // namespace edgecc
#endif // EDGECC_EDGECC_HPP

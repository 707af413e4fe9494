// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <map>
#include <memory>
#include <string>

#include <ATen/record_function.h>

namespace patchdiff {

/// Counts the operators that run while it lives, by name.
class OperatorCounts {
 public:
  OperatorCounts() : handle_(at::addGlobalCallback(at::RecordFunctionCallback(&count))) { counts().clear(); }
  ~OperatorCounts() { at::removeCallback(handle_); }
  OperatorCounts(const OperatorCounts&) = delete;
  OperatorCounts& operator=(const OperatorCounts&) = delete;

  static std::map<std::string, int>& counts() {
    static std::map<std::string, int> all;
    return all;
  }

 private:
  static std::unique_ptr<at::ObserverContext> count(const at::RecordFunction& function) {
    ++counts()[function.name()];
    return nullptr;
  }
  at::CallbackHandle handle_;
};

}  // namespace patchdiff

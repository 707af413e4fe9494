// SPDX-License-Identifier: Apache-2.0
// The convolutions and matrix products of a piece of work, to be run again alone.
#pragma once

#include <algorithm>
#include <array>
#include <functional>
#include <memory>
#include <optional>
#include <string_view>
#include <utility>
#include <vector>

#include <ATen/core/dispatch/Dispatcher.h>
#include <ATen/core/grad_mode.h>
#include <ATen/record_function.h>

#include <patchdiff/nn/torch/cpu_convolution.hpp>

/// Keeps each call's operator and arguments, tensors included.
class OperatorReplay {
 public:
  /// Records what `work` calls on this thread.
  explicit OperatorReplay(const std::function<void()>& work) {
    recorded() = &calls_;
    const auto handle = at::addThreadLocalCallback(
        at::RecordFunctionCallback([](const at::RecordFunction& function) -> std::unique_ptr<at::ObserverContext> {
          const auto name = function.operator_name();
          const bool ours = std::string_view(function.name()).starts_with("patchdiff::convolution");
          if (ours || (name && is_product(name->name))) {
            const auto arguments = function.inputs();
            recorded()->push_back({ours ? std::nullopt
                                        : std::optional(c10::Dispatcher::singleton().findSchemaOrThrow(
                                              name->name.c_str(), name->overload_name.c_str())),
                                   std::vector<c10::IValue>(arguments.begin(), arguments.end())});
          }
          return nullptr;
        }).needsInputs(true));
    work();
    at::removeCallback(handle);
    for (Call& call : calls_) {
      for (c10::IValue& argument : call.arguments) {
        if (argument.isTensor()) argument = argument.toTensor().detach();
      }
    }
  }

  /// Runs all calls back to back, without gradients.
  void operator()() const {
    const at::NoGradGuard no_grad;
    for (const Call& call : calls_) {
      std::vector<c10::IValue> stack = call.arguments;
      call.op ? call.op->callBoxed(&stack) : convolve(stack);
    }
  }

  std::size_t size() const noexcept { return calls_.size(); }

 private:
  struct Call {
    std::optional<c10::OperatorHandle> op;  ///< none: the library's own convolution, or its gradients
    std::vector<c10::IValue> arguments;
  };

  static void convolve(const std::vector<c10::IValue>& of) {
    using patchdiff::unet::CpuConvolution;
    const at::Tensor first = of[0].toTensor(), second = of[1].toTensor(), third = of[2].toTensor();
    if (of.size() == 3) {
      CpuConvolution::convolved(first, second, third);
    } else {
      CpuConvolution::gradients_of(first, second, third, of[3].toBool(), of[4].toBool());
    }
  }

  static bool is_product(std::string_view name) {
    static constexpr std::array products{
        std::string_view("aten::convolution"), std::string_view("aten::convolution_backward"),
        std::string_view("aten::addmm"), std::string_view("aten::mm"), std::string_view("aten::bmm")};
    const bool fused_attention = name.starts_with("aten::_scaled_dot_product_") && name.find("_math") == name.npos;
    return fused_attention || std::find(products.begin(), products.end(), name) != products.end();
  }

  /// Where the callback, which holds nothing, puts what it sees.
  static std::vector<Call>*& recorded() {
    static thread_local std::vector<Call>* calls = nullptr;
    return calls;
  }

  std::vector<Call> calls_;
};

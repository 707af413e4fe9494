// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <any>
#include <concepts>
#include <cstdint>
#include <optional>
#include <span>
#include <type_traits>
#include <utility>
#include <variant>

#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/nn/network.hpp>

namespace patchdiff {

/// One of several networks of a backend, chosen when the program runs; `model_file` opens files of any of them.
template <TrainableNetwork First, TrainableNetwork... Others>
class AnyNetwork {
  static_assert((std::same_as<typename First::Backend, typename Others::Backend> && ...),
                "AnyNetwork: the networks must share one backend");

 public:
  using Networks = std::variant<First, Others...>;
  using Backend = typename First::Backend;
  using Tensor = typename Backend::Tensor;

  /// What backward needs: the record of the network that is held.
  struct Record {
    Tensor output;
    std::any inner{};  ///< the network's own record
  };

  /// Holds the network.
  template <class Net>
    requires(std::same_as<Net, First> || ... || std::same_as<Net, Others>)
  explicit AnyNetwork(Net network) : network_(std::move(network)) {}

  Tensor operator()(const Tensor& input, std::span<const double> c_noise, const Conditioning<Backend>& conditioning,
                    const Pass& pass) const {
    return visit([&](const auto& network) { return network(input, c_noise, conditioning, pass); });
  }

  Record record(const Tensor& input, std::span<const double> c_noise, const Conditioning<Backend>& conditioning,
                const Pass& pass) {
    return std::visit(
        [&](auto& network) -> Record {
          auto inner = network.record(input, c_noise, conditioning, pass);
          const Tensor output = inner.output;
          return {output, std::move(inner)};
        },
        network_);
  }

  std::optional<Tensor> backward(const Record& record, const Tensor& cotangent) {
    return std::visit(
        [&]<class Net>(Net& network) {
          return network.backward(std::any_cast<const typename Net::Record&>(record.inner), cotangent);
        },
        network_);
  }

  template <class Visitor>
  void visit_parameters(Visitor&& visitor) {
    std::visit([&](auto& network) { network.visit_parameters(visitor); }, network_);
  }

  template <class Visitor>
  void visit_state(Visitor&& visitor) {
    std::visit([&](auto& network) { network.visit_state(visitor); }, network_);
  }

  AnyNetwork clone() const {
    return visit([](const auto& network) { return AnyNetwork(network.clone()); });
  }

  /// Calls `function` with the network itself.
  template <class Function>
  decltype(auto) visit(Function&& function) const {
    return std::visit(std::forward<Function>(function), network_);
  }

  std::int64_t input_channels() const {
    return visit([](const auto& network) -> std::int64_t { return network.input_channels(); });
  }
  std::int64_t output_channels() const {
    return visit([](const auto& network) -> std::int64_t { return network.output_channels(); });
  }
  std::int64_t label_dim() const {
    return visit([](const auto& network) -> std::int64_t { return network.label_dim(); });
  }
  std::int64_t augment_dim() const {
    return visit([](const auto& network) { return patchdiff::augment_dim(network); });
  }
  std::int64_t size_divisor() const {
    return visit([](const auto& network) -> std::int64_t { return network.size_divisor(); });
  }
  typename Backend::Device device() const {
    return visit([](const auto& network) { return network.device(); });
  }

 private:
  Networks network_;
};

/// Calls `function` with the network, or with what an AnyNetwork holds.
template <class Net, class Function>
void visit_network(const Net& network, Function&& function) {
  if constexpr (requires { typename Net::Networks; }) {
    network.visit(std::forward<Function>(function));
  } else {
    function(network);
  }
}

/// Calls `function.template operator()<Kind>()` for the network's type, or for each that an AnyNetwork may hold.
template <class Net, class Function>
void for_each_network(Function&& function) {
  if constexpr (requires { typename Net::Networks; }) {
    []<class... Kinds>(std::type_identity<std::variant<Kinds...>>, auto& call) {
      (call.template operator()<Kinds>(), ...);
    }(std::type_identity<typename Net::Networks>{}, function);
  } else {
    function.template operator()<Net>();
  }
}

}  // namespace patchdiff

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/nn/network.hpp>
#include <patchdiff/parallel/host_buffer.hpp>
#include <patchdiff/parallel/process_group.hpp>

namespace patchdiff {

/// How gradients are divided into messages.
struct BucketOptions {
  std::int64_t bytes = std::int64_t{25} << 20;  ///< of gradients that go in one message, > 0; a larger one goes alone
};

/// Adds the gradients of a network's parameters over the processes of a group, a bucket of them in each message.
///
/// Parameters are numbered as they are visited, and fill the buckets from the last on, as backward makes their
/// gradients. A bucket is sent when its gradients are there and those before it are sent, so that all processes send
/// the same messages in the same order. Source: Li et al., "PyTorch Distributed" (arXiv 2006.15704), section 3.2.
template <Backend B, ProcessGroup G>
class BucketedSum {
 public:
  using Tensor = typename B::Tensor;

  /// The group must outlive this. Errors: ConfigError for settings that cannot work.
  template <HasParameters Net>
  BucketedSum(G& group, Net& net, BucketOptions options = {}) : group_(&group) {
    require<ConfigError>(options.bytes >= 1, "BucketedSum", "bytes", "at least 1", options.bytes);
    std::vector<std::pair<typename B::Device, std::int64_t>> parameters;
    net.visit_parameters([&](auto, Tensor& value, Tensor&) {
      parameters.emplace_back(B::device(value), element_count(B::shape(value)));
    });
    slots_.resize(parameters.size());
    for (std::size_t parameter = parameters.size(); parameter-- > 0;) {
      const auto& [device, elements] = parameters[parameter];
      const std::int64_t bytes = elements * Buffer::bytes_per_element(device);
      if (layout_.empty() || !(layout_.back().device == device) || layout_.back().bytes + bytes > options.bytes) {
        layout_.push_back({.device = device});
      }
      Message& message = layout_.back();
      slots_[parameter] = {.bucket = layout_.size() - 1, .first = message.elements, .elements = elements};
      message.elements += elements;
      message.bytes += bytes;
      ++message.parameters;
    }
  }

  BucketedSum(const BucketedSum&) = delete;
  BucketedSum& operator=(const BucketedSum&) = delete;

  /// Memory that an unfinished message may still be written to is never given back.
  ~BucketedSum() { abandon(); }

  /// The bytes of each message of a step, in the order in which they are sent.
  std::vector<std::int64_t> message_bytes() const {
    std::vector<std::int64_t> bytes;
    for (const Message& message : layout_) bytes.push_back(message.bytes);
    return bytes;
  }

  /// Takes a parameter's gradient, once in each step and in any order; sends what is complete.
  ///
  /// Errors: ConfigError for an unknown parameter, and a gradient that was given before; ShapeError for a gradient of
  /// another size than the parameter; ProcessError.
  void add(std::size_t parameter, const Tensor& gradient) {
    Slot& slot = slot_of(parameter, gradient);
    if (buckets_.empty()) {
      for (const Message& message : layout_) {
        buckets_.push_back({Buffer(message.elements, message.device), message.parameters});
      }
    }
    if (std::exchange(slot.given, true)) {
      refuse<ConfigError>("BucketedSum", "add", "one gradient of each parameter in a step",
                          str("another of parameter ", parameter));
    }
    buckets_[slot.bucket].buffer.write(slot.first, gradient);
    --buckets_[slot.bucket].missing;
    for (; sums_.size() < buckets_.size() && buckets_[sums_.size()].missing == 0;) {
      sums_.push_back(buckets_[sums_.size()].buffer.start_sum(*group_));
    }
    if constexpr (requires { group_->advance(sums_.front()); }) {
      for (typename G::Sum& sum : sums_) group_->advance(sum);
    }
  }

  /// Takes the gradients that were not given, waits for all messages, and writes the sums to the gradients.
  ///
  /// Errors: as of `add` for other parameters; ProcessError.
  template <HasParameters Net>
  void finish(Net& net) {
    std::size_t parameter = 0;
    net.visit_parameters([&](auto, Tensor&, Tensor& gradient) {
      if (!slot_of(parameter, gradient).given) add(parameter, gradient);
      ++parameter;
    });
    for (std::size_t bucket = 0; bucket < sums_.size(); ++bucket) {
      buckets_[bucket].buffer.wait(*group_, sums_[bucket],
                                   str("sum of gradients, message ", bucket + 1, " of ", sums_.size()));
    }
    parameter = 0;
    net.visit_parameters([&](auto, Tensor&, Tensor& gradient) {
      Slot& slot = slots_.at(parameter++);
      buckets_[slot.bucket].buffer.read(slot.first, gradient);
      slot.given = false;
    });
    for (std::size_t bucket = 0; bucket < sums_.size(); ++bucket) buckets_[bucket].missing = layout_[bucket].parameters;
    sums_.clear();
  }

 private:
  using Buffer = MessageBuffer<B>;

  /// What goes in a message.
  struct Message {
    typename B::Device device;
    std::int64_t elements = 0;
    std::int64_t bytes = 0;
    std::int64_t parameters = 0;
  };

  /// Where a parameter's gradient lies.
  struct Slot {
    std::size_t bucket = 0;
    std::int64_t first = 0;
    std::int64_t elements = 0;
    bool given = false;  ///< in this step
  };

  struct Bucket {
    Buffer buffer;
    std::int64_t missing = 0;  ///< gradients that are to come
  };

  /// Where the gradient is to lie, which must be of the parameter's size.
  Slot& slot_of(std::size_t parameter, const Tensor& gradient) {
    if (parameter >= slots_.size()) {
      refuse<ConfigError>("BucketedSum", "parameter", str("a number below ", slots_.size()), str(parameter));
    }
    Slot& slot = slots_[parameter];
    const Shape shape = B::shape(gradient);
    if (element_count(shape) != slot.elements) {
      refuse<ShapeError>("BucketedSum", "gradient", str(slot.elements, " elements of parameter ", parameter),
                         to_string(shape));
    }
    return slot;
  }

  void abandon() noexcept {
    if (sums_.empty()) return;
    try {
      static_cast<void>(new std::pair(std::move(buckets_), std::move(sums_)));
    } catch (...) {
      // moving vectors does not throw, and without memory for a pair all is lost
    }
  }

  G* group_;
  std::vector<Message> layout_{};
  std::vector<Slot> slots_{};  ///< by parameter
  std::vector<Bucket> buckets_{};
  std::vector<typename G::Sum> sums_{};  ///< of the messages that were sent
};

}  // namespace patchdiff

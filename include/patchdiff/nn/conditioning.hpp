// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>

namespace patchdiff {

/// What a denoiser is told besides the noisy image: one row per sample in each tensor.
///
/// Shapes: class_labels [N, label_dim], one-hot or soft, a row of zeros is "no label"; fields [N, F, h, w], condition
/// images; augment_labels [N, A].
template <Backend B>
struct Conditioning {
  using Tensor = typename B::Tensor;

  std::optional<Tensor> class_labels{};
  std::optional<Tensor> fields{};
  std::optional<Tensor> augment_labels{};

  /// The same without class labels: their rows become zeros.
  Conditioning without_labels() const {
    Conditioning unlabelled = *this;
    if (class_labels) {
      const std::vector<double> zeros(static_cast<std::size_t>(B::shape(*class_labels).front()), 0.0);
      unlabelled.class_labels = B::scale(zeros, *class_labels);
    }
    return unlabelled;
  }

  /// The rows of `first`, then those of `second`; both must hold the same kinds of tensors.
  static Conditioning concat(const Conditioning& first, const Conditioning& second) {
    const auto join = [](const std::optional<Tensor>& a, const std::optional<Tensor>& b) -> std::optional<Tensor> {
      require<ShapeError>(a.has_value() == b.has_value(), "Conditioning", "concat", "the same kinds of tensors in both",
                          "one that only one of them has");
      if (!a) return std::nullopt;
      return B::concat(std::array{*a, *b}, 0);
    };
    return {join(first.class_labels, second.class_labels), join(first.fields, second.fields),
            join(first.augment_labels, second.augment_labels)};
  }
};

/// Writes class indices as one-hot rows [N, label_dim].
///
/// Errors: ConfigError for a negative width; DataError for an index outside [0, label_dim).
template <Backend B>
typename B::Tensor one_hot_labels(std::span<const std::int64_t> labels, std::int64_t label_dim,
                                  typename B::Device device) {
  require<ConfigError>(label_dim >= 0, "one_hot_labels", "label_dim", "at least 0", label_dim);
  const auto width = static_cast<std::size_t>(label_dim);
  std::vector<float> rows(labels.size() * width, 0.0F);
  for (std::size_t sample = 0; sample < labels.size(); ++sample) {
    if (labels[sample] < 0 || labels[sample] >= label_dim) {
      refuse<DataError>("one_hot_labels", "labels", str("values in [0, ", label_dim, ')'),
                        str(labels[sample], " at sample ", sample));
    }
    rows[sample * width + static_cast<std::size_t>(labels[sample])] = 1.0F;
  }
  return B::from_host(std::span<const float>(rows), {static_cast<std::int64_t>(labels.size()), label_dim}, device);
}

}  // namespace patchdiff

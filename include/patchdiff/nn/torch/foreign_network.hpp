// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>

#include <ATen/core/Tensor.h>
#include <ATen/ops/zeros.h>

#include <patchdiff/backend/torch/torch_backend.hpp>
#include <patchdiff/backend/torch/torch_reason.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/nn/check_arguments.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/nn/network.hpp>
#include <patchdiff/nn/torch/autograd_network.hpp>

namespace patchdiff {

/// What a network takes and gives, which no program can find out by itself.
struct NetworkShape {
  std::int64_t input_channels = 0;   ///< of the image, the coordinates and the condition images together
  std::int64_t output_channels = 0;  ///< of the image
  std::int64_t label_dim = 0;        ///< width of class labels, 0: none
  std::int64_t augment_dim = 0;      ///< width of augmentation labels, 0: none
  std::int64_t size_divisor = 1;     ///< what sides of images have to be divisible by

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("input_channels", self.input_channels, "channels of image, coordinates and condition images together");
    visit("output_channels", self.output_channels, "channels of the image");
    visit("label_dim", self.label_dim, "width of class labels, 0: none");
    visit("augment_dim", self.augment_dim, "width of augmentation labels, 0: none");
    visit("size_divisor", self.size_divisor, "what sides of images have to be divisible by");
  }
};

/// What a network is called with.
struct NetworkInput {
  at::Tensor images;            ///< [N, input_channels, h, w], scaled by c_in
  at::Tensor noise;             ///< [N], c_noise: ln(sigma) / 4 under EDM
  at::Tensor class_labels{};    ///< [N, label_dim], or undefined where that is 0
  at::Tensor augment_labels{};  ///< [N, augment_dim], zeros where none are given, or undefined where that is 0
  Pass pass{};                  ///< whether it is for training, and the keys of draws
};

/// Base of networks that others wrote. `Derived` has `at::Tensor call(const NetworkInput&) const`, differentiable.
///
/// Dropout and other draws of such a network are its own: unless they follow `NetworkInput::pass`, a run that is
/// resumed is not repeated to the bit.
/// Errors of a call: ShapeError for arguments that do not fit; DataError where the network throws, or gives anything
/// but [N, output_channels, h, w].
template <class Derived>
class ForeignNetwork : public AutogradNetwork<Derived> {
 public:
  at::Tensor forward(const at::Tensor& images, std::span<const double> c_noise,
                     const Conditioning<TorchBackend>& conditioning, const Pass& pass) const {
    unet::check_arguments(source_, *this, images, c_noise, conditioning);
    const std::int64_t count = images.size(0);
    const auto labels = [&](const std::optional<at::Tensor>& given, std::int64_t width) {
      if (width == 0) return at::Tensor();
      return given ? *given : at::zeros({count, width}, images.options());
    };
    const NetworkInput input{.images = images,
                             .noise = TorchBackend::from_host(c_noise, {count}, this->device()),
                             .class_labels = labels(conditioning.class_labels, shape_.label_dim),
                             .augment_labels = labels(conditioning.augment_labels, shape_.augment_dim),
                             .pass = pass};
    at::Tensor output;
    try {
      output = static_cast<const Derived&>(*this).call(input);
    } catch (const Error&) {
      throw;
    } catch (const std::exception& error) {
      refuse<DataError>(source_, "forward", str("a network of ", to_string(images.sizes().vec())), torch_reason(error));
    }
    const Shape expected{count, shape_.output_channels, images.size(2), images.size(3)};
    if (!output.defined() || output.sizes().vec() != expected) {
      refuse<DataError>(source_, "output", to_string(expected),
                        output.defined() ? to_string(output.sizes().vec()) : "none");
    }
    return output;
  }

  std::int64_t input_channels() const noexcept { return shape_.input_channels; }
  std::int64_t output_channels() const noexcept { return shape_.output_channels; }
  std::int64_t label_dim() const noexcept { return shape_.label_dim; }
  std::int64_t augment_dim() const noexcept { return shape_.augment_dim; }
  std::int64_t size_divisor() const noexcept { return shape_.size_divisor; }
  const NetworkShape& shape() const noexcept { return shape_; }

 protected:
  /// `source` is what errors call the network. Errors: ConfigError for a shape that cannot be.
  ForeignNetwork(NetworkShape shape, std::string source, TorchDevice device)
      : AutogradNetwork<Derived>(device), shape_(shape), source_(std::move(source)) {
    NetworkShape::describe(shape_, [&](std::string_view key, std::int64_t value, std::string_view) {
      const bool may_be_none = key == "label_dim" || key == "augment_dim";
      if (value >= (may_be_none ? 0 : 1)) return;
      refuse<ConfigError>(source_, key, may_be_none ? "at least 0" : "at least 1", str(value));
    });
  }

  /// Makes a tensor of the network's own a weight, or a constant where it asks for no gradient; both share it. One that
  /// the network has under several names keeps the first.
  void add(const std::string& name, const at::Tensor& value) {
    if (this->has(value)) return;
    if (value.requires_grad()) {
      this->add_parameter(name, value);
    } else {
      this->add_buffer(name, value);
    }
  }

  /// Puts a module into the mode of a call; one thread at a time, so that none sees it half changed.
  template <class Module>
  void set_mode(Module& module, bool training) const {
    const std::lock_guard lock(*mode_mutex_);
    if (module.is_training() != training) module.train(training);
  }

 private:
  NetworkShape shape_;
  std::string source_;
  std::unique_ptr<std::mutex> mode_mutex_ = std::make_unique<std::mutex>();
};

}  // namespace patchdiff

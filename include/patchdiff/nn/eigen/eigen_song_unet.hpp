// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string_view>
#include <utility>
#include <vector>

#include <patchdiff/backend/eigen/eigen_backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/nn/check_arguments.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/nn/eigen/inference/image_view.hpp>
#include <patchdiff/nn/eigen/inference/sample_song_unet.hpp>
#include <patchdiff/nn/eigen/inference/scratch_pool.hpp>
#include <patchdiff/nn/network.hpp>
#include <patchdiff/nn/song_unet_options.hpp>
#include <patchdiff/nn/unet_options.hpp>

namespace patchdiff {

/// The DDPM++ U-Net on Eigen, forward alone: what was trained as SongUNet on LibTorch samples without it.
///
/// Settings, names and shapes of the weights are SongUNet's, so `model_file::load` opens what training wrote; until
/// then all weights are zero. Convolutions are computed directly, by a kernel that keeps its sums in registers; they
/// use what the host's compiler flags allow (`-march=native`). Samples are tasks of the device's executor, and where
/// there is one sample, parts of its layers are. The bits depend neither on the number of threads nor on the rest of
/// the batch. Computes in its own scalar type, whatever precision a pass asks for. Safe from many threads.
/// Shapes: [N, in_channels, h, w] to [N, out_channels, h, w], h and w divisible by 2^(levels - 1); labels
/// [N, label_dim], augmentation labels [N, augment_dim]; labels that are not given count as zeros.
/// Errors: ShapeError for arguments that do not fit.
/// Memory: weights once; activations of one sample for each thread, kept for the next call.
/// Source: Song et al. (arXiv 2011.13456), appendix H; EDM (arXiv 2206.00364), appendix F.
template <class Scalar>
class EigenSongUNet {
 public:
  using Backend = EigenBackend<Scalar>;
  using Tensor = EigenTensor<Scalar>;
  using Options = SongUNetOptions;
  static constexpr std::string_view name = "SongUNet";

  /// Errors: ConfigError for settings that cannot work, and for the encoder, decoder and filter of NCSN++.
  explicit EigenSongUNet(SongUNetOptions options, EigenDevice<Scalar> device = {})
      : options_(checked(std::move(options))), device_(device), net_(options_, device) {}

  /// The network whose weights a file will fill; none are drawn.
  static EigenSongUNet unfilled(SongUNetOptions options, EigenDevice<Scalar> device = {}) {
    return EigenSongUNet(std::move(options), device);
  }

  Tensor operator()(const Tensor& input, std::span<const double> c_noise, const Conditioning<Backend>& conditioning,
                    const Pass& pass) const {
    unet::check_arguments(name, *this, input, c_noise, conditioning);
    check(pass);
    Tensor output({input.size(0), options_.out_channels, input.size(2), input.size(3)}, device_);
    const ImageSize size{input.size(2), input.size(3)};
    device_.executor.parallel_for(input.size(0), [&](std::int64_t n) {
      const auto row = [&](const std::optional<Tensor>& rows) {
        return rows ? rows->data() + n * rows->sample_size() : nullptr;
      };
      scratch_->with([&](typename Net::Scratch& scratch) {
        const auto x = scratch.input.bordered(size, options_.in_channels);
        for (std::int64_t y = 0; y < size.height; ++y) pixels(x, y) = row_of(input.channels(n), y, size.width);
        const auto result = net_(
            x, {c_noise[static_cast<std::size_t>(n)], row(conditioning.class_labels), row(conditioning.augment_labels)},
            scratch, device_.executor);
        auto channels = output.channels(n);
        for (std::int64_t y = 0; y < size.height; ++y) row_of(channels, y, size.width) = pixels(result, y);
      });
    });
    return output;
  }

  /// Calls `visit(name, value)` for each weight and constant; what it writes into the value is taken over.
  template <class Visitor>
  void visit_state(Visitor&& visit) {
    net_.visit_state(visit, device_);
  }

  std::int64_t input_channels() const noexcept { return options_.in_channels; }
  std::int64_t output_channels() const noexcept { return options_.out_channels; }
  std::int64_t label_dim() const noexcept { return options_.label_dim; }
  std::int64_t augment_dim() const noexcept { return options_.augment_dim; }
  std::int64_t size_divisor() const noexcept { return unet::size_divisor(options_); }
  EigenDevice<Scalar> device() const noexcept { return device_; }
  const SongUNetOptions& options() const noexcept { return options_; }

 private:
  using Net = inference::SampleSongUNet<Scalar>;

  /// A row of an image as [channels, width].
  static auto pixels(const inference::ImageView<Scalar>& x, std::int64_t y) {
    using Matrix = Eigen::Matrix<Scalar, Eigen::Dynamic, Eigen::Dynamic>;  // column by column
    return Eigen::Map<Matrix>(x.row(y), x.channels, x.size.width);
  }

  /// The same of an image that lies channel by channel.
  template <class Channels>
  static auto row_of(Channels&& channels, std::int64_t y, std::int64_t width) {
    return channels.middleCols(y * width, width);
  }

  static void check(const Pass& pass) {
    if (pass.training || pass.input_gradient) {
      refuse<ConfigError>(name, "pass", "one without dropout and gradients, as this network runs forward alone",
                          pass.training ? "training" : "the gradient of the input");
    }
  }

  static SongUNetOptions checked(SongUNetOptions options) {
    options = checked_song_unet(name, std::move(options));
    const auto require_one = [&](bool holds, std::string_view setting, std::string_view expected,
                                 std::string_view got) {
      if (!holds) refuse<ConfigError>(name, setting, str(expected, ", as on Eigen"), got);
    };
    require_one(options.encoder_type == EncoderType::standard, "encoder_type", "standard",
                name_of(options.encoder_type));
    require_one(options.decoder_type == DecoderType::standard, "decoder_type", "standard",
                name_of(options.decoder_type));
    require_one(options.resample_filter == std::vector<std::int64_t>{1, 1}, "resample_filter", "[1, 1]",
                to_string(options.resample_filter));
    return options;
  }

  SongUNetOptions options_;
  EigenDevice<Scalar> device_;
  Net net_;
  std::unique_ptr<inference::ScratchPool<typename Net::Scratch>> scratch_ =
      std::make_unique<inference::ScratchPool<typename Net::Scratch>>();
};

static_assert(Network<EigenSongUNet<float>> && Network<EigenSongUNet<double>>,
              "EigenSongUNet does not fit the concept Network");

}  // namespace patchdiff

// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cmath>
#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <type_traits>
#include <utility>
#include <vector>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/average_info.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/core/precision.hpp>
#include <patchdiff/core/shape.hpp>
#include <patchdiff/core/str.hpp>
#include <patchdiff/diffusion/edm.hpp>
#include <patchdiff/diffusion/formulation.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/nn/network.hpp>
#include <patchdiff/patch/coord_encoder.hpp>

namespace patchdiff {

/// Everything that makes a network a model of images.
struct DenoiserOptions {
  ImageShape image{};                        ///< full images: channels, height, width
  CoordOptions coords{};                     ///< padding and coordinate channels
  Formulation formulation = EDM{};           ///< preconditioning and loss weight
  Precision precision = Precision::float32;  ///< scalar type of the network's convolutions and matrix products
  bool null_label_trained = false;           ///< whether a row of zeros as label was trained; TrainStep notes it

  template <class Self, class Visitor>
  static void describe(Self& self, Visitor&& visit) {
    visit("image", self.image, "channels, height and width of full images");
    visit("coords", self.coords, "padding and coordinate channels");
    visit("formulation", self.formulation, "preconditioning and loss weight");
    visit("precision", self.precision, "scalar type of convolutions and matrix products");
    visit("null_label_trained", self.null_label_trained, "whether a row of zeros as label was trained");
  }
};

/// Makes a denoiser of a network: D = c_skip x + c_out F(cat(c_in x, coordinates, fields), c_noise, labels).
///
/// The coordinates are neither scaled by c_in nor noised. A network may return the image channels only, or the
/// coordinate channels too; the latter are dropped, with zero gradient.
/// Owns the network; pass `std::ref` to keep it elsewhere. Denoising is const and safe from many threads; `record` and
/// `backward` are not.
/// Source: EDM (arXiv 2206.00364), equation 7; Patch Diffusion (arXiv 2304.12526), sections 3.1 and 3.3.
template <class NetworkOrReference>
class DenoiserWrapper {
 public:
  using Net = std::remove_reference_t<std::unwrap_reference_t<NetworkOrReference>>;
  static_assert(Network<Net>, "DenoiserWrapper: the network does not fit the concept Network (nn/network.hpp)");
  using Backend = typename Net::Backend;
  using Tensor = typename Backend::Tensor;

  /// What `backward` needs of a denoised batch.
  struct Record {
    Tensor denoised;
    typename Net::Record network;
    std::vector<double> c_skip;
    std::vector<double> c_out;
    std::vector<double> c_in;
    static_assert(HasBackward<Net>,
                  "DenoiserWrapper: the network does not fit the concept HasBackward (nn/network.hpp)");
  };

  /// Errors: ConfigError for a network whose channels do not fit the image.
  DenoiserWrapper(NetworkOrReference network, DenoiserOptions options)
      : network_(std::move(network)), options_(std::move(options)), coords_(options_.image.size(), options_.coords) {
    const std::int64_t channels = options_.image.channels;
    if (channels < 1) {
      refuse<ConfigError>("DenoiserWrapper", "image", "at least one channel", to_string(options_.image));
    }
    if (net().input_channels() < channels + coords_.channels()) {
      refuse<ConfigError>("DenoiserWrapper", "network",
                          str("at least ", channels + coords_.channels(), " input channels, ", channels,
                              " of the image and ", coords_.channels(), " of coordinates"),
                          str(net().input_channels()));
    }
    if (net().output_channels() != channels && net().output_channels() != channels + coords_.channels()) {
      refuse<ConfigError>("DenoiserWrapper", "network",
                          str(channels, " or ", channels + coords_.channels(), " output channels"),
                          str(net().output_channels()));
    }
  }

  /// The estimate of the clean images; dropout is off.
  ///
  /// Shapes: x [N, C, h, w], a patch or a whole image; sigma N values; one place per sample.
  /// Errors: ShapeError and DataError, before any work, for arguments that do not fit the model.
  Tensor operator()(const Tensor& x, std::span<const double> sigma, const Places& places,
                    const Conditioning<Backend>& conditioning = {}) const {
    check(x, sigma, places, conditioning);
    const Coefficients c = coefficients(sigma);
    const Tensor output =
        net()(input(c, x, places, conditioning), c.noise, conditioning, {.precision = options_.precision});
    return Backend::combine(c.skip, x, c.out, image_channels(output, x));
  }

  /// The same estimate, with what `backward` needs; the pass says whether dropout is on and how it is drawn.
  Record record(const Tensor& x, std::span<const double> sigma, const Places& places,
                const Conditioning<Backend>& conditioning, Pass pass) {
    check(x, sigma, places, conditioning);
    Coefficients c = coefficients(sigma);
    pass.precision = options_.precision;
    typename Net::Record network = net().record(input(c, x, places, conditioning), c.noise, conditioning, pass);
    Tensor denoised = Backend::combine(c.skip, x, c.out, image_channels(network.output, x));
    return {std::move(denoised), std::move(network), std::move(c.skip), std::move(c.out), std::move(c.in)};
  }

  /// Adds `factor` times the parameters' gradients of <denoised, cotangent>; returns that of x where the pass asked.
  std::optional<Tensor> backward(const Record& record, const Tensor& cotangent, double factor = 1) {
    std::vector<double> skip = record.c_skip, out = record.c_out;
    for (double& coefficient : skip) coefficient *= factor;
    for (double& coefficient : out) coefficient *= factor;
    const std::optional<Tensor> input = net().backward(record.network, all_channels(Backend::scale(out, cotangent)));
    if (!input) return std::nullopt;
    return Backend::combine(skip, cotangent, record.c_in, Backend::slice(*input, 1, 0, options_.image.channels));
  }

  template <class Visitor>
  void visit_parameters(Visitor&& visit) {
    net().visit_parameters(std::forward<Visitor>(visit));
  }

  template <class Visitor>
  void visit_state(Visitor&& visit) {
    net().visit_state(std::forward<Visitor>(visit));
  }

  /// Whether a row of zeros as label means "no label", as guidance needs it.
  bool null_label_trained() const noexcept { return options_.null_label_trained; }

  /// Notes that the weights have been trained on samples without their labels.
  void note_null_label() noexcept { options_.null_label_trained = true; }

  /// Which average of a run's weights the network has.
  const AverageInfo& average() const noexcept { return average_; }

  /// Notes what the weights are from now on; averages, training and `model_file::load` do.
  void note_average(const AverageInfo& average) noexcept { average_ = average; }

  /// A denoiser with its own copy of the network.
  DenoiserWrapper<Net> clone() const {
    DenoiserWrapper<Net> copy(net().clone(), options_);
    copy.note_average(average_);
    return copy;
  }

  ImageShape image() const noexcept { return options_.image; }
  std::int64_t label_dim() const { return net().label_dim(); }
  typename Backend::Device device() const { return net().device(); }
  const CoordOptions& coords() const noexcept { return options_.coords; }
  const Formulation& formulation() const noexcept { return options_.formulation; }
  const DenoiserOptions& options() const noexcept { return options_; }
  const Net& network() const noexcept { return network_; }

 private:
  struct Coefficients {
    std::vector<double> skip, out, in, noise;
  };

  Net& net() noexcept { return network_; }
  const Net& net() const noexcept { return network_; }

  Coefficients coefficients(std::span<const double> sigma) const {
    Coefficients all;
    for (const double level : sigma) {
      const Preconditioning c = options_.formulation.preconditioning(level);
      all.skip.push_back(c.c_skip);
      all.out.push_back(c.c_out);
      all.in.push_back(c.c_in);
      all.noise.push_back(c.c_noise);
    }
    return all;
  }

  Tensor input(const Coefficients& c, const Tensor& x, const Places& places,
               const Conditioning<Backend>& conditioning) const {
    std::vector<Tensor> parts{Backend::scale(c.in, x), coords_(places, Backend::device(x))};
    if (conditioning.fields) parts.push_back(*conditioning.fields);
    return Backend::concat(parts, 1);
  }

  Tensor image_channels(const Tensor& output, const Tensor& x) const {
    Shape shape = Backend::shape(x);
    shape[1] = net().output_channels();
    if (Backend::shape(output) != shape) {
      refuse<ShapeError>("DenoiserWrapper", "network output", to_string(shape), to_string(Backend::shape(output)));
    }
    return shape[1] == options_.image.channels ? output : Backend::slice(output, 1, 0, options_.image.channels);
  }

  Tensor all_channels(const Tensor& cotangent) const {
    if (net().output_channels() == options_.image.channels) return cotangent;
    Shape shape = Backend::shape(cotangent);
    shape[1] = coords_.channels();
    const Tensor coordinates = Backend::zeros(shape, Backend::device(cotangent));
    return Backend::concat(std::vector<Tensor>{cotangent, coordinates}, 1);
  }

  void check(const Tensor& x, std::span<const double> sigma, const Places& places,
             const Conditioning<Backend>& conditioning) const {
    const Shape shape = Backend::shape(x);
    if (shape.size() != 4) refuse<ShapeError>("DenoiserWrapper", "x", "rank 4, [N, C, h, w]", to_string(shape));
    if (shape[1] != options_.image.channels) {
      refuse<ShapeError>("DenoiserWrapper", "x", str(options_.image.channels, " channels"), to_string(shape));
    }
    if (shape[2] < 1 || shape[3] < 1) {
      refuse<ShapeError>("DenoiserWrapper", "x", "at least one pixel", to_string(shape));
    }
    check_device("x", x);
    const std::int64_t divisor = net().size_divisor();
    if (shape[2] % divisor != 0 || shape[3] % divisor != 0) {
      refuse<ShapeError>("DenoiserWrapper", "x",
                         str("height and width divisible by ", divisor, ", as the network needs"), to_string(shape));
    }
    if (static_cast<std::int64_t>(sigma.size()) != shape[0]) {
      refuse<ShapeError>("DenoiserWrapper", "sigma", str(shape[0], " values"), str(sigma.size()));
    }
    for (const double level : sigma) {
      require<DataError>(level > 0 && std::isfinite(level), "DenoiserWrapper", "sigma", "finite values > 0", level);
    }
    if (places.count() != shape[0] || places.patch != ImageSize{shape[2], shape[3]}) {
      refuse<ShapeError>("DenoiserWrapper", "places", str(shape[0], " patches of ", shape[2], 'x', shape[3]),
                         str(places.count(), " of ", to_string(places.patch)));
    }
    check_conditioning(shape, conditioning);
  }

  void check_conditioning(const Shape& shape, const Conditioning<Backend>& conditioning) const {
    const std::int64_t label_dim = net().label_dim();
    if (label_dim > 0) {
      const std::string expected = to_string(Shape{shape[0], label_dim});
      if (!conditioning.class_labels) refuse<ShapeError>("DenoiserWrapper", "class_labels", expected, "none");
      const Shape got = Backend::shape(*conditioning.class_labels);
      if (got != Shape{shape[0], label_dim}) {
        refuse<ShapeError>("DenoiserWrapper", "class_labels", expected, to_string(got));
      }
      check_device("class_labels", *conditioning.class_labels);
    } else if (conditioning.class_labels) {
      refuse<ShapeError>("DenoiserWrapper", "class_labels", "none, the network takes no labels",
                         to_string(Backend::shape(*conditioning.class_labels)));
    }
    const std::int64_t augment_dim = patchdiff::augment_dim(net());
    const Shape augmented = conditioning.augment_labels ? Backend::shape(*conditioning.augment_labels) : Shape{};
    if (conditioning.augment_labels && (augment_dim == 0 || augmented != Shape{shape[0], augment_dim})) {
      refuse<ShapeError>(
          "DenoiserWrapper", "augment_labels",
          augment_dim > 0 ? to_string(Shape{shape[0], augment_dim}) : "none, the network takes no augmentation labels",
          to_string(augmented));
    }
    if (conditioning.augment_labels) check_device("augment_labels", *conditioning.augment_labels);
    const std::int64_t field_channels = net().input_channels() - shape[1] - coords_.channels();
    const Shape fields = conditioning.fields ? Backend::shape(*conditioning.fields) : Shape{};
    if (field_channels > 0 || conditioning.fields) {
      const Shape expected{shape[0], field_channels, shape[2], shape[3]};
      if (fields != expected) {
        refuse<ShapeError>("DenoiserWrapper", "fields", field_channels > 0 ? to_string(expected) : "none",
                           conditioning.fields ? to_string(fields) : "none");
      }
      check_device("fields", *conditioning.fields);
    }
  }

  void check_device(std::string_view argument, const Tensor& tensor) const {
    if (Backend::device(tensor) == device()) return;
    refuse<ShapeError>("DenoiserWrapper", argument, Backend::device_name(device()),
                       Backend::device_name(Backend::device(tensor)));
  }

  NetworkOrReference network_;
  DenoiserOptions options_;
  CoordEncoder<Backend> coords_;
  AverageInfo average_{};
};

/// A network that is moved in is the wrapper's.
template <class N>
DenoiserWrapper(N, DenoiserOptions) -> DenoiserWrapper<N>;

}  // namespace patchdiff

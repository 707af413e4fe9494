// SPDX-License-Identifier: Apache-2.0
// A model inside another program: answers each line "SEED [CLASS]" on standard input with a picture on standard output,
// a binary PGM or PPM. Needs a compiler, Eigen and the header-only nlohmann-json, no LibTorch and no libpng.

#include <charconv>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <filesystem>
#include <iostream>
#include <iterator>
#include <new>
#include <optional>
#include <sstream>
#include <string>
#include <system_error>
#include <vector>

#include <patchdiff/backend/eigen/eigen_backend.hpp>
#include <patchdiff/backend/eigen/thread_executor.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/diffusion/any_denoiser.hpp>
#include <patchdiff/io/image_grid.hpp>
#include <patchdiff/io/model_file.hpp>
#include <patchdiff/io/picture.hpp>
#include <patchdiff/nn/eigen/eigen_song_unet.hpp>
#include <patchdiff/sampling/dpm_solver_pp_2m.hpp>
#include <patchdiff/sampling/ode_sampler.hpp>

namespace {

namespace pd = patchdiff;

/// Draws a model's pictures, one at a time.
class PictureMaker {
 public:
  using B = pd::EigenBackend<float>;

  PictureMaker(const std::filesystem::path& model, pd::ThreadExecutor& pool)
      : denoiser_(pd::model_file::load<pd::EigenSongUNet<float>>(model, {pool})) {}

  /// The picture of a seed; of a class, where the model has some: a class that is not given is none.
  pd::Picture operator()(std::uint64_t seed, std::optional<std::int64_t> label) const {
    pd::SampleRequest<B> request{.seeds = {seed}};
    if (label) {
      request.conditioning.class_labels =
          pd::one_hot_labels<B>(std::vector{*label}, denoiser_.label_dim(), denoiser_.device());
    } else if (denoiser_.label_dim() > 0) {
      request.conditioning.class_labels = B::zeros({1, denoiser_.label_dim()}, denoiser_.device());
    }
    const auto image = sampler_(denoiser_, request);
    return frame_(B::Wide::to_host(image), image.shape());
  }

 private:
  pd::AnyDenoiser<B> denoiser_;
  pd::ODESampler<pd::DPMSolverPP2M> sampler_{{.num_steps = 8}};
  pd::ImageGrid frame_{{.columns = 1, .margin = 0}};
};

void answer(const PictureMaker& make, const std::string& line) {
  std::istringstream words(line);
  std::string first, second, more;
  words >> first >> second >> more;
  const auto is_number = [](const std::string& text, auto& number) {
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), number);
    return error == std::errc{} && end == text.data() + text.size();
  };
  std::uint64_t seed = 0;
  std::optional<std::int64_t> label;
  if (!is_number(first, seed) || !(second.empty() || is_number(second, label.emplace())) || !more.empty()) {
    throw pd::DataError("eigen_pictures", "request", "SEED [CLASS]", '"' + line + '"');
  }
  const pd::Picture picture = make(seed, label);  // whole before its first byte is written
  const auto& [channels, height, width] = picture.shape;
  std::cout << (channels == 1 ? "P5\n" : "P6\n") << width << ' ' << height << "\n255\n";
  std::cout.write(reinterpret_cast<const char*>(picture.pixels.data()), std::ssize(picture.pixels)).flush();
}

}  // namespace

int main(int argc, char** argv) {
  if (argc != 2) {
    std::cerr << "usage: eigen_pictures MODEL < requests\n";
    return 2;
  }
  try {
    pd::ThreadExecutor pool(2);
    const PictureMaker make(argv[1], pool);
    for (std::string line; std::getline(std::cin, line);) {
      try {
        answer(make, line);
      } catch (const std::bad_alloc&) {
        std::cerr << "eigen_pictures: memory: expected enough for a picture, got none\n";
      } catch (const pd::Error& error) {
        std::cerr << "eigen_pictures: " << error.what() << '\n';
      }
    }
  } catch (const std::exception& error) {
    std::cerr << "eigen_pictures: " << error.what() << '\n';
    return 1;
  }
}

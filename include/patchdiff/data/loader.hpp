// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <algorithm>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <deque>
#include <exception>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include <fmt/format.h>

#include <patchdiff/backend/backend.hpp>
#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/random_stream.hpp>
#include <patchdiff/data/data_order.hpp>
#include <patchdiff/data/dataset.hpp>
#include <patchdiff/nn/conditioning.hpp>
#include <patchdiff/patch/image_batch.hpp>
#include <patchdiff/patch/patch_plan.hpp>

namespace patchdiff {

struct LoaderOptions {
  std::uint64_t seed = 0;        ///< key of the data order; give it the run's seed
  std::int64_t prefetch = 4096;  ///< images that the loader's thread decodes ahead, at least 1
};

/// Hands a step its images, decoded ahead by one thread of its own.
///
/// The order is a keyed permutation per epoch (see DataOrder), a function of the position alone, so the cursor is
/// `TrainState::images`. No image repeats within an epoch. The data set must outlive the loader; the thread ends with
/// it. Errors: DataError for an image that is not finite; what the data set throws, from `take`.
template <Backend B, Dataset Source>
class Loader {
 public:
  Loader(const Source& source, typename B::Device device, LoaderOptions options = {})
      : source_(&source),
        device_(device),
        prefetch_(static_cast<std::size_t>(options.prefetch)),
        order_({options.seed}, static_cast<std::uint64_t>(source.size())) {
    if (source.size() < 1) throw ConfigError("Loader", "source", "at least one image", "none");
    if (options.prefetch < 1) {
      throw ConfigError("Loader", "prefetch", "at least 1", fmt::format("{}", options.prefetch));
    }
    thread_ = std::thread([this] { decode_ahead(); });
  }

  ~Loader() {
    {
      const std::lock_guard lock(mutex_);
      ending_ = true;
    }
    wake_decoder_.notify_one();
    thread_.join();
  }

  Loader(const Loader&) = delete;
  Loader& operator=(const Loader&) = delete;

  /// The plan's images, with one-hot labels where the data set has them. Waits for the thread where it is behind.
  ImageBatch<B> take(const PatchPlan& plan) { return take(plan, 0, plan.images); }

  /// A part of them, from the plan's sample `first_sample` on.
  ImageBatch<B> take(const PatchPlan& plan, std::uint64_t first_sample, std::int64_t count) {
    const ImageShape shape = source_->shape();
    const auto values = static_cast<std::size_t>(shape.channels * pixel_count(shape.size()));
    std::vector<float> images(static_cast<std::size_t>(count) * values);
    std::vector<std::int64_t> labels;
    seek(plan.first_image + first_sample);
    for (std::size_t sample = 0; sample < static_cast<std::size_t>(count); ++sample) {
      const Decoded image = next();
      std::copy(image.values.begin(), image.values.end(),
                images.begin() + static_cast<std::ptrdiff_t>(sample * values));
      if constexpr (LabelledDataset<Source>) labels.push_back(image.label);
    }
    ImageBatch<B> batch{.images = B::from_host(std::span<const float>(images),
                                               {count, shape.channels, shape.height, shape.width}, device_),
                        .first_sample = first_sample};
    if constexpr (LabelledDataset<Source>) {
      if (source_->class_count() > 0) {
        batch.class_labels = one_hot_labels<B>(labels, source_->class_count(), device_);
      }
    }
    return batch;
  }

 private:
  struct Decoded {
    std::vector<float> values;
    std::int64_t label = 0;
    std::exception_ptr error;
  };

  /// Throws away what was decoded ahead when the host goes on at another position.
  void seek(std::uint64_t position) {
    {
      const std::lock_guard lock(mutex_);
      if (position == position_) return;
      ready_.clear();
      position_ = decoding_ = position;
      ++generation_;
    }
    wake_decoder_.notify_one();
  }

  Decoded next() {
    Decoded image;
    {
      std::unique_lock lock(mutex_);
      wake_host_.wait(lock, [this] { return !ready_.empty(); });
      if (ready_.front().error) std::rethrow_exception(ready_.front().error);
      image = std::move(ready_.front());
      ready_.pop_front();
      ++position_;
    }
    wake_decoder_.notify_one();
    return image;
  }

  void decode_ahead() {
    std::unique_lock lock(mutex_);
    for (;;) {
      wake_decoder_.wait(lock, [this] { return ending_ || ready_.size() < prefetch_; });
      if (ending_) return;
      const std::uint64_t generation = generation_;
      const std::uint64_t position = decoding_++;
      lock.unlock();
      Decoded image = decode(position);
      lock.lock();
      if (generation == generation_) {
        ready_.push_back(std::move(image));
        wake_host_.notify_one();
      }
    }
  }

  Decoded decode(std::uint64_t position) const {
    Decoded image;
    try {
      const auto index = static_cast<std::int64_t>(order_(position));
      const ImageShape shape = source_->shape();
      image.values.resize(static_cast<std::size_t>(shape.channels * pixel_count(shape.size())));
      source_->read(index, image.values);
      require_finite("Loader", image.values, index);
      if constexpr (LabelledDataset<Source>) {
        if (source_->class_count() > 0) image.label = source_->label(index);
      }
    } catch (...) {
      image.error = std::current_exception();
    }
    return image;
  }

  const Source* source_;
  typename B::Device device_;
  std::size_t prefetch_;
  DataOrder order_;

  std::mutex mutex_;
  std::condition_variable wake_decoder_;
  std::condition_variable wake_host_;
  std::deque<Decoded> ready_;
  std::uint64_t position_ = 0;    ///< of the image that `take` hands out next
  std::uint64_t decoding_ = 0;    ///< of the image that the thread decodes next
  std::uint64_t generation_ = 0;  ///< counts seeks, so that an image decoded for an old position is dropped
  bool ending_ = false;
  std::thread thread_;
};

}  // namespace patchdiff

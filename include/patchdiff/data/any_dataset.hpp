// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <concepts>
#include <cstdint>
#include <memory>
#include <span>
#include <type_traits>
#include <utility>

#include <patchdiff/core/error.hpp>
#include <patchdiff/core/image_size.hpp>
#include <patchdiff/core/places.hpp>
#include <patchdiff/data/batch_labels.hpp>
#include <patchdiff/data/dataset.hpp>

namespace patchdiff {

/// Any data set behind one virtual call per image, for programs that learn its kind when they run.
///
/// A data set that has no labels is one of 0 classes. Copies share it.
class AnyDataset {
 public:
  /// Takes the data set over.
  template <Dataset Source>
    requires(!std::same_as<std::remove_cvref_t<Source>, AnyDataset>)
  explicit AnyDataset(Source source) : held_(std::make_shared<const Holder<Source>>(std::move(source))) {}

  std::int64_t size() const { return held_->size(); }
  ImageShape shape() const { return held_->shape(); }

  /// Whether the data set has parts of images read, see `read_patch`.
  bool has_regions() const { return held_->has_regions(); }

  /// The number of classes; 0 without labels.
  std::int64_t class_count() const { return held_->class_count(); }

  /// The class of an image. Errors: DataError without labels; what the data set throws.
  std::int64_t label(std::int64_t index) const {
    require<DataError>(class_count() != 0, "AnyDataset", "labels", "labels", "none");
    return held_->label(index);
  }

  /// Writes an image as [C, H, W] floats. Errors: what the data set throws.
  void read(std::int64_t index, std::span<float> out) const { held_->read(index, out); }

  /// Writes a patch as [C, h, w] floats, with zeros where it lies outside.
  ///
  /// Errors: ConfigError for a data set without regions; what it throws.
  void read_patch(std::int64_t index, const Place& place, ImageSize patch, std::span<float> out) const {
    held_->read_patch(index, place, patch, out);
  }

 private:
  struct Interface {
    virtual ~Interface() = default;
    virtual std::int64_t size() const = 0;
    virtual ImageShape shape() const = 0;
    virtual bool has_regions() const = 0;
    virtual std::int64_t class_count() const = 0;
    virtual std::int64_t label(std::int64_t index) const = 0;
    virtual void read(std::int64_t index, std::span<float> out) const = 0;
    virtual void read_patch(std::int64_t index, const Place& place, ImageSize patch, std::span<float> out) const = 0;
  };

  template <class Source>
  struct Holder final : Interface {
    explicit Holder(Source source) : inner(std::move(source)) {}
    std::int64_t size() const override { return inner.size(); }
    ImageShape shape() const override { return inner.shape(); }
    bool has_regions() const override { return patchdiff::has_regions(inner); }
    std::int64_t class_count() const override {
      if constexpr (LabelledDataset<Source>) {
        return inner.class_count();
      } else {
        return 0;
      }
    }
    std::int64_t label(std::int64_t index) const override { return class_of(inner, index); }
    void read(std::int64_t index, std::span<float> out) const override { inner.read(index, out); }
    void read_patch(std::int64_t index, const Place& place, ImageSize patch, std::span<float> out) const override {
      if constexpr (RegionDataset<Source>) {
        inner.read_patch(index, place, patch, out);
      } else {
        refuse<ConfigError>("AnyDataset", "source", "a data set that reads parts of images",
                            "one that reads them whole");
      }
    }
    Source inner;
  };

  std::shared_ptr<const Interface> held_;
};

}  // namespace patchdiff

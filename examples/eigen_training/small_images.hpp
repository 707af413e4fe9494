// SPDX-License-Identifier: Apache-2.0
// Images of 1x16x16 that a small network learns in a minute.
#pragma once

#include <cstdint>
#include <filesystem>

#include <patchdiff/data/array_dataset.hpp>

/// Waves with a random phase, lying, standing, or leaning, and blobs where two waves meet: one class each.
patchdiff::ArrayDataset textures(std::uint64_t seed);

/// Fashion-MNIST with its border of two black pixels, each 2x2 pixels averaged.
patchdiff::ArrayDataset garments(const std::filesystem::path& folder);

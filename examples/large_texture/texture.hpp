// SPDX-License-Identifier: Apache-2.0
#pragma once

#include <cstdint>
#include <filesystem>

#include <patchdiff/data/mapped_array.hpp>

/// Draws a square grey texture of veins and writes it, one byte a pixel, as an NPY file; gives how to map it.
///
/// The veins are the same everywhere, their brightness and contrast depend on where they lie in the image.
patchdiff::ArrayLayout write_texture(const std::filesystem::path& path, std::int64_t side, std::uint64_t seed);

// SPDX-License-Identifier: Apache-2.0
#pragma once

namespace patchdiff {

/// What a callback wants to happen next.
enum class Flow { proceed, stop };

}  // namespace patchdiff

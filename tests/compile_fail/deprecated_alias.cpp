// SPDX-License-Identifier: Apache-2.0
// A deprecated name is an alias with the attribute: declaring it is silent, and using it warns with what to write.
// Message: OldHeun.*deprecated.*called Heun since 0.2
#pragma GCC diagnostic error "-Wdeprecated-declarations"

#include <patchdiff/sampling/heun.hpp>

using OldHeun [[deprecated("OldHeun is called Heun since 0.2")]] = patchdiff::Heun;

#ifdef MUST_FAIL
OldHeun solver{};
#else
patchdiff::Heun solver{};
#endif

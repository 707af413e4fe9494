// SPDX-License-Identifier: Apache-2.0
// A bare number is no key: seed, step and sample would be mixed up unnoticed.
// Message: no matching (function|constructor)
#include <patchdiff/core/random_stream.hpp>

using patchdiff::Purpose;
using patchdiff::RandomKey;
using patchdiff::RandomStream;

const RandomStream right(RandomKey{7}, Purpose::sigma, 0, 0);

#ifdef MUST_FAIL
const RandomStream wrong(7, Purpose::sigma, 0, 0);
#endif

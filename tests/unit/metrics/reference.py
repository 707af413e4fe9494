# SPDX-License-Identifier: Apache-2.0
# Prints the figures that the tests in this folder hold for sine_features.hpp, by the plain formulas of numpy and scipy:
#
#   python3 -m venv build/venv && build/venv/bin/pip install numpy scipy
#   build/venv/bin/python tests/unit/metrics/reference.py
import numpy
import scipy


def features(count, step, shift, width=4):
    return numpy.sin(step * numpy.arange(count * width) ** 2).reshape(count, width) + shift


def frechet(x, y):
    cov_x, cov_y = numpy.cov(x, rowvar=False), numpy.cov(y, rowvar=False)
    root = scipy.linalg.sqrtm(cov_x @ cov_y).real
    return numpy.sum((x.mean(0) - y.mean(0)) ** 2) + numpy.trace(cov_x + cov_y - 2 * root)


def kernel(x, y):
    return (x @ y.T / x.shape[1] + 1) ** 3


def discrepancy(x, y):
    def pairs(z):
        k = kernel(z, z)
        return (k.sum() - numpy.trace(k)) / (len(z) * (len(z) - 1))

    return pairs(x) + pairs(y) - 2 * kernel(x, y).mean()


def inside(centres, queries, neighbour):
    own = numpy.sort(scipy.spatial.distance.cdist(centres, centres), axis=1)  # the first is the vector itself
    return (scipy.spatial.distance.cdist(queries, centres) <= own[:, neighbour]).any(axis=1).mean()


real, generated = features(400, 1.0, 0.0), features(300, 0.7, 0.25)
print("frechet", repr(float(frechet(real, generated))))
print("discrepancy", repr(float(discrepancy(real, generated))))
for k in (1, 3, 10):
    print("precision, recall", k, float(inside(real, generated, k)), float(inside(generated, real, k)))
own = numpy.sort(scipy.spatial.distance.cdist(real, real), axis=1)
print("radii", *(repr(float(own[i, 3])) for i in (0, 123, 399)))

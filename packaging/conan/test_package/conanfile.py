# SPDX-License-Identifier: Apache-2.0
import io
import os
import shutil

from conan import ConanFile
from conan.errors import ConanException
from conan.tools.build import can_run
from conan.tools.cmake import CMake, CMakeDeps, CMakeToolchain, cmake_layout
from conan.tools.env import VirtualRunEnv


class PatchdiffTestPackage(ConanFile):
    settings = "os", "arch", "compiler", "build_type"

    def requirements(self):
        self.requires(self.tested_reference_str)

    def layout(self):
        cmake_layout(self)

    @property
    def _components(self):
        options = self.dependencies["patchdiff"].options
        return [name for name in ("eigen", "io", "torch") if getattr(options, f"with_{name}")]

    def generate(self):
        CMakeDeps(self).generate()
        toolchain = CMakeToolchain(self)
        toolchain.cache_variables["COMPONENTS"] = ";".join(self._components)
        toolchain.generate()

    def build(self):
        cmake = CMake(self)
        cmake.configure()
        cmake.build()

    def test(self):
        if can_run(self):
            for name in ["core"] + self._components:
                self.run(os.path.join(self.cpp.build.bindir, f"{name}_host"), env="conanrun")
            if self.dependencies["patchdiff"].options.cli:
                self._test_program()

    def _test_program(self):
        program = shutil.which("patchdiff", path=VirtualRunEnv(self).vars().get("PATH"))
        if not program or not program.startswith(self.dependencies["patchdiff"].package_folder):
            raise ConanException(f"the run environment has not the package's program, but {program}")
        self.run("patchdiff --help", env="conanrun")
        log = io.StringIO()
        refused = os.path.join(self.source_folder, "CMakeLists.txt")
        if self.run(f"patchdiff info {refused}", env="conanrun", ignore_errors=True, stdout=log, stderr=log) == 0:
            raise ConanException("patchdiff info takes a file that is no model")
        if refused not in log.getvalue():
            raise ConanException(f"patchdiff info does not name the file that it refuses: {log.getvalue()}")

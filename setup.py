"""Compile the native engine where there is a C compiler; everything else stands in pyproject.toml.

Without one, or where it fails, the package is built without it, and trains in torch: `engine="auto"` sees to that.
"""

import platform

from setuptools import Extension, setup
from setuptools.command.bdist_wheel import bdist_wheel
from setuptools.command.build_ext import build_ext

ENGINES = "skfdrmfl.engines"
FLAGS = ["-std=gnu11", "-O3", "-fno-math-errno", "-fno-trapping-math", "-fvisibility=hidden", "-pthread"]
# What is compiled for which processors; the first one that a processor can is loaded (`native.LIBRARIES`).
OF_X86 = {
    "libnative_avx512": ["-march=x86-64-v4", "-mprefer-vector-width=512"],
    "libnative_avx2": ["-march=x86-64-v3"],
}
IS_X86 = platform.machine().lower() in ("x86_64", "amd64")


class BuildPlainLibraries(build_ext):
    """Builds libraries that ctypes loads: the same for every Python."""

    def get_ext_filename(self, fullname):
        return fullname.replace(".", "/") + ".so"

    def get_export_symbols(self, ext):
        return ext.export_symbols


class WheelForEveryPython(bdist_wheel):
    """Names the wheel after the platform alone."""

    def get_tag(self):
        _, _, of_platform = super().get_tag()
        return "py3", "none", of_platform


setup(
    ext_modules=[
        Extension(
            f"{ENGINES}.{name}",
            ["skfdrmfl/engines/native.c"],
            depends=["skfdrmfl/engines/native_matrices.h"],
            extra_compile_args=FLAGS + flags,
            extra_link_args=["-pthread"],
            libraries=["m"],
            optional=True,
        )
        for name, flags in (OF_X86 if IS_X86 else {"libnative": []}).items()
    ],
    cmdclass={"build_ext": BuildPlainLibraries, "bdist_wheel": WheelForEveryPython},
)

"""C to what a machine runs: the model's two files in, a shared library and a program out.

The model comes as text and goes as bytes; the compiler and, for another machine, QEMU's user mode are programs of the
system. The .c and .h files beside this one are what is compiled with the model.
"""

from edgecnn.native.compiling import Built, compiled, parts_of
from edgecnn.native.targets import TARGETS, check_target, compiler_of

__all__ = ["TARGETS", "Built", "check_target", "compiled", "compiler_of", "parts_of"]

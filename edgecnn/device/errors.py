"""What the board's code raises on purpose: one line each (where, got, expected, remedy) and an exit code."""


class DeviceError(Exception):
    """Base class of all errors of the device package: bad input or something missing, exit code 2."""

    exit_code = 2


class ImageError(DeviceError):
    """A file that is no image, or an array that is no picture."""


class ImageSizeError(ImageError):
    """An image of more pixels than are decoded."""


class NoInkError(ImageError):
    """A picture on which nothing is drawn."""


class ModelError(DeviceError):
    """A model file that is absent, damaged, or takes another input than an image."""


class DamagedError(ModelError):
    """Content of a model file that contradicts itself; the file's name is added by whoever knows it."""


class RuntimeMissingError(DeviceError):
    """No installed runtime can run the model."""


class DifferenceError(DeviceError):
    """The self-test ran, and this board computes something else than the workstation did: exit code 1."""

    exit_code = 1

"""What the board's code raises on purpose: one line each (where, got, expected, remedy), exit code 2."""


class DeviceError(Exception):
    """Base class of all errors of the device package."""

    exit_code = 2


class ImageError(DeviceError):
    """A file that is no image, or an array that is no picture."""


class ImageSizeError(ImageError):
    """An image of more pixels than are decoded."""


class ModelError(DeviceError):
    """A model file that is absent, damaged, or takes another input than an image."""


class RuntimeMissingError(DeviceError):
    """No installed runtime can run the model."""

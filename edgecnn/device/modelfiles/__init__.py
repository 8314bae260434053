"""What a .tflite or .onnx file itself says of its input and its scores, read without a runtime or its libraries.

`clues.clues_of` is the door. It asks the metadata (`tflite_metadata`, `onnx_metadata`), the first operators
(`leading`), the quantization of the input (`quantization`) and the last operators (`scores`). All of them see a file
as the one `graph` that `tflite` and `onnx` make of it. Those walk the file's bytes (`flatbuffer`, `protobuf`) and check
every place and length, so that a damaged file costs a `DamagedError`, and not more time or memory than a whole one.
"""

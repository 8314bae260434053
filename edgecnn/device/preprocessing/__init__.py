"""From any picture of a digit, or of a page of digits, to what MNIST's networks expect: uint8 [28, 28]."""

"""What a digit in MNIST's shape is: white ink on black, 28x28, by MNIST's own protocol. Standard library only.

The digit is scaled into a 20x20 box keeping its shape, with antialiasing, and placed so that its centre of mass is the
centre of a 28x28 image (LeCun, Cortes, Burges).
"""

SIDE = 28
BOX = 20

"""From any picture to what a network expects: digits found and brought into MNIST's shape, all else stretched."""

def range_before(scale, offset):
    return None

"""``predict.pyz --serve``: predictions over HTTP, and a page to draw on."""

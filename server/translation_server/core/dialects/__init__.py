"""Wire formats as data, and the engine that renders and reads them."""

"""Functions whose time tells, measured by pytest-benchmark."""

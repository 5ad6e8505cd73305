# SPDX-License-Identifier: MIT
"""What the Python tests share. tests/README.md says how they are run."""

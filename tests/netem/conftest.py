"""The tests of links are told that it is netem which they test: this folder is collected before theirs."""

import os

os.environ["PATCHBAY_TEST_LINK_ENGINE"] = "netem"

"""Mininet on the same count: hosts on one Linux bridge. Runs under the system's Python, for which Debian packages it.

mininet_hosts.py COUNT        prints {"build_s": …, "teardown_s": …}
"""

import json
import sys
import time

from mininet.log import setLogLevel
from mininet.net import Mininet
from mininet.nodelib import LinuxBridge
from mininet.topo import SingleSwitchTopo


def main(count: int) -> None:
    setLogLevel("error")
    started = time.perf_counter()
    net = Mininet(topo=SingleSwitchTopo(k=count), switch=LinuxBridge, controller=None, waitConnected=False)
    net.start()
    built = time.perf_counter()
    net.stop()
    ended = time.perf_counter()
    print(json.dumps({"build_s": built - started, "teardown_s": ended - built}))


if __name__ == "__main__":
    main(int(sys.argv[1]))

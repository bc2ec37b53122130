"""Runs Debian's ``syncevo-http-server``, whose own first line is broken, on the loopback only.

usage (with the system's Python, which has Twisted): ``/usr/bin/python3 httpd.py URL``

The packaged server listens on all addresses, whatever its URL says: SyncEvolution is told nothing
of whom it may trust here, so nobody else shall reach it.
"""

import runpy
import sys

import twisted.internet.gireactor as reactor_module

_install = reactor_module.install


def install(*args, **named):
    reactor = _install(*args, **named)
    listen = reactor.listenTCP
    reactor.listenTCP = lambda port, site, **more: listen(port, site, interface='127.0.0.1')
    return reactor


reactor_module.install = install
sys.argv[0] = 'syncevo-http-server'
runpy.run_path('/usr/bin/syncevo-http-server', run_name='__main__')

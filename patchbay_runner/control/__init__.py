"""Labs for programs in any language: a Unix socket that takes requests as lines of JSON.

::

    client ── lines ──► connection.py ──► methods.py ──► a lab of labs.py ──► its agent, by lab/commands.py

`requests.py` and `network.py` say what there is to ask for; `docs/reference/control-protocol.md` is made from them.
"""

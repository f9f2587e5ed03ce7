"""Real parts for the demo and the tests: guests, a libvirt estate. Not in the wheel."""

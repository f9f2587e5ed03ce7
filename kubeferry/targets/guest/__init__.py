"""Questions to the system inside a started machine, whatever runs it.

probes   the questions of a plan, each asked again until it passes or its time is over
agent    the QEMU guest agent;  channel: one JSON value a line over a unix socket
rehearsals   which of the questions can be asked of a machine that is rehearsed
pages    one page of a web server
screen   what a screen shows, over time, and the text on it
"""

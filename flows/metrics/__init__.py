"""Figures for Prometheus, from the journal alone: by HTTP, or as a file for node_exporter's textfile collector.

tallies      what of one machine's events is counted; pure      series      tallies of all machines as samples; pure
exposition   samples as text, in Prometheus' format and in OpenMetrics'; pure
collecting   the journal, read anew as far as it has grown       listening   HTTP

Labels have few values: plans, waves, states, parts of a downtime, kinds of reasons. A machine is named only while its
source is off on the way, since whoever is called then has to know which.
"""

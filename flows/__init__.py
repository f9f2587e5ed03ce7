"""The flows that an operator sees in Prefect, and the command line. The only package that imports Prefect.

discover, assess, migrate   the flows
cli/                        the command line: thin functions that read documents, call a flow, print
server, progress            a Prefect server of our own (prefect_server is its program; ports); what a person sees then
assessing, reporting        what an assessment and a report leave on disk;  doctor: what would stop a migration
first_files, manifests      what `init` writes; what an administrator is handed, from deploy/
"""

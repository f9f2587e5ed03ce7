"""The flows that an operator sees in Prefect, and the command line. The only package that imports Prefect.

discover, assess            the flows of those who ask
migrate                     the run that moves machines: its waves, threads and retries; it knows no Prefect
following                   what is told of that run, for as long as somebody may want it;  shown: it as Prefect's flows
cli/                        the command line: thin functions that read documents, call a flow, print
serving/                    a Prefect server of our own;  progress: what a person at the terminal sees meanwhile
assessing, reporting        what an assessment and a report leave on disk;  doctor: what would stop a migration
telling                     who is told of a run, beside it;  metrics/: figures for Prometheus
struck                      what leaves for a log or for Prefect is without secrets
versions                    of kubeferry, a plan and a journal, as `doctor` and `status` tell them
setup/                      what `init` and `manifests` write
"""

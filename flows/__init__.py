"""The flows that an operator sees in Prefect, and the command line. The only package that imports Prefect.

programme/                  the flows that can be deployed;  deploying/: `kubeferry deploy`
migrate                     the run that moves machines: its waves, threads and retries; it knows no Prefect
told                        what it tells of them, and who is told
elsewhere                   machines that other workers drive;  results: how those ended;  spreading: whether they may
places                      which machine begins next, where how many may be at work is limited
rounds                      one of machines that are rehearsed together after it
moves                       such a run from what was asked to its outcomes, at a terminal and in a worker alike
leaving                     what a run that was cancelled may not leave, brought to its end by a process of its own
following                   what is told of that run, for as long as somebody may want it
cli/                        the command line: thin functions that read documents, call a flow, print
serving/                    a Prefect server of our own;  progress: what a person at the terminal sees meanwhile
inventories                 one inventory of several files
assessing, reporting        what an assessment and a report leave on disk;  doctor: what would stop a migration
caretaking                  machines that nobody is at work on, taken up
telling                     who is told of a run, beside it;  metrics/: figures for Prometheus
struck                      what leaves for a log or for Prefect is without secrets
ends                        what a plan moves between, opened for the verbs that clean up
versions                    of kubeferry, a plan and a journal, as `doctor` and `status` tell them
setup/                      what `init` and `manifests` write
"""

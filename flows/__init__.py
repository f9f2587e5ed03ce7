"""The flows that an operator sees in Prefect, and the command line. The only package that imports Prefect.

A command is a thin function: it reads documents, calls a flow or a plain function, prints, and turns errors into exit
codes (0 done, 1 worth retrying, 2 do not retry).
"""

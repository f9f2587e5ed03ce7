"""Where a machine fits: as a VM, as a container, or where it is; and in which sandbox.

signs      what speaks for which place, a table: each sign finds facts of the inventory, and nothing else
services   on which ports it serves, as far as its filters say
sandbox    namespace, Pod Security level, runtime class and NetworkPolicy where tenants do not trust each other
verdict    the place that the signs come to, and what nobody knows
"""

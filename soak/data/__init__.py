"""Kinds of the data plane, one module each: engine, rounds, bits, devices, thin, damaged (images), servers, kills.
Beside them: liar, the server that lies, and nbd_double, what it has of an honest one; points, where a process may end;
doomed, the process that does."""

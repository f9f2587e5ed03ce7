"""NBD: a client of our own, over a unix socket (`client`, `handshake`, `line`, and `in_flight` for what was asked of a
server and is not answered yet), with TLS (`tls`, and `psk` for keys in place of certificates), behind SSH (`ssh`), and
for images of other formats that QEMU reads for us (`qemu`). `private_folder` is where our programs have their sockets.
"""

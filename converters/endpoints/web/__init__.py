"""Disks by HTTPS: a file that a server gives any range of (`https`), and a stream that vSphere's export lease gives
once (`vmdk_lease`). `client` is how both ask.
"""

"""What is written before anything moves: by `kubeferry init` and `kubeferry manifests`.

first_files     a configuration and a policy to start from, for each kind of source and target
manifests       what an administrator is handed: rights, alerts, folders to build images and to install from
deploy          the top-level folder `deploy/`, by a link: in a wheel its files lie here
"""

# It imports nerfstudio, and runs in an environment of its own.
collect_ignore = ["nerfstudio_checks.py"]

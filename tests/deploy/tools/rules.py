"""Calls the preflight's rules: [name, arguments…] as JSON on standard input, the answer as JSON."""

import json
import sys

sys.path.insert(0, "deploy/ansible/filter_plugins")
sys.dont_write_bytecode = True

import fogline  # noqa: E402

name, *arguments = json.load(sys.stdin)
answer = fogline.FilterModule().filters()[name](*arguments)
json.dump(answer, sys.stdout)

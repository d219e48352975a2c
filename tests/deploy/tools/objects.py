"""YAML for whoever speaks JSON, and the schemas of others.

  objects.py json FILE…                   a JSON array: for each file the array of its documents
  objects.py kubernetes VERSION,… FILE…   a line for each object that one of the versions refuses
  objects.py schema SCHEMA FILE…          a line for each file that a JSON schema refuses

A key that stands twice in a map is an error: the second would silently win.
"""

import functools
import json
import sys

import yaml

# Kinds of others, described by no schema of Kubernetes.
FOREIGN = {"Route", "PodMonitor"}


class Strict(yaml.CSafeLoader):
    def construct_mapping(self, node, deep=False):
        seen = set()
        for key, _ in node.value:
            if key.tag == "tag:yaml.org,2002:merge":
                continue
            name = self.construct_object(key, deep=True)
            if name in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"{name!r} stands twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)


def documents(path):
    with open(path, encoding="utf-8") as file:
        return [each for each in yaml.load_all(file, Loader=Strict) if each is not None]


def refused_by_kubernetes(versions, paths):
    from kubernetes_validate import utils, validate
    # Hundreds of objects, a dozen schemas: each is read once.
    utils.schema_contents = functools.lru_cache(maxsize=None)(utils.schema_contents)
    seen = set()
    for path in paths:
        for found in documents(path):
            text = json.dumps(found, sort_keys=True)
            if found["kind"] in FOREIGN or text in seen:
                continue
            seen.add(text)
            for version in versions:
                try:
                    validate(found, version, strict=True)
                except (utils.ValidationError, utils.SchemaNotFoundError) as error:
                    where = ".".join(str(step) for step in getattr(error, "path", []))
                    name = f"{found['kind']}/{found['metadata']['name']}"
                    yield f"{path}: {name}: {version}: {where}: {error.message}"


def refused_by_schema(schema, paths):
    import jsonschema
    with open(schema, encoding="utf-8") as file:
        validator = jsonschema.Draft7Validator(json.load(file))
    for path in paths:
        for found in documents(path):
            for error in validator.iter_errors(found):
                yield f"{path}: {'.'.join(map(str, error.path))}: {error.message}"


def main(task, *rest):
    if task == "json":
        json.dump([documents(path) for path in rest], sys.stdout, default=str)
    elif task == "kubernetes":
        print(*refused_by_kubernetes(rest[0].split(","), rest[1:]), sep="\n")
    elif task == "schema":
        print(*refused_by_schema(rest[0], rest[1:]), sep="\n")
    else:
        sys.exit(f"unknown task {task!r}")


main(*sys.argv[1:])

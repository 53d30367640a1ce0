#!/usr/bin/env python3
"""Prints template.yaml as plain CloudFormation (JSON), as SAM's transform makes it on AWS.

    template.py [template.yaml]

Needs no AWS account. Where the template names code on this machine, the output names an object of
the bucket `artifacts`, as `sam package` would.
"""
import json
import os
import sys

import boto3
from samcli.yamlhelper import yaml_parse
from samtranslator.translator.transform import transform

REGION = os.environ.setdefault("AWS_DEFAULT_REGION", "eu-west-1")


class NoManagedPolicies:
    """The template names none of AWS's managed policies, so nobody has to look them up."""

    def load(self):
        return {}


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    path = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "..", "..", "template.yaml")
    with open(path, encoding="utf-8") as file:
        template = yaml_parse(file.read())
    # SAM asks the session for its region, and nothing else.
    boto3.setup_default_session(region_name=REGION)
    template["Globals"]["Function"].pop("CodeUri")
    for name, resource in template["Resources"].items():
        code = {"AWS::Serverless::Function": "CodeUri", "AWS::Serverless::LayerVersion": "ContentUri"}.get(resource["Type"])
        if code:
            resource["Properties"][code] = f"s3://artifacts/{name}.zip"
    json.dump(transform(template, {}, NoManagedPolicies(), passthrough_metadata=True), sys.stdout, indent=1)


main()

#!/usr/bin/env python3
"""Removes Gantry from AWS.

    destroy.py [--stack gantry] [--data] [--yes]

The records stay: the table, the bucket with Terraform's states, and the key that seals secret
variables. With --data they are removed too, and no backup is left but the table's own. Before
anything is removed, the stack's name is to be typed, or --yes given.
"""
import argparse
import os
import sys

import boto3
from botocore.exceptions import ClientError


# boto3 reads the region from the second name alone; the AWS CLI prefers the first.
if os.environ.get("AWS_REGION"):
    os.environ["AWS_DEFAULT_REGION"] = os.environ["AWS_REGION"]


def parse():
    parser = argparse.ArgumentParser(description="Removes Gantry from AWS; the records stay unless --data is given.")
    parser.add_argument("--stack", default="gantry", help="the CloudFormation stack's name (gantry)")
    parser.add_argument("--data", action="store_true", help="remove the records too: table, bucket, sealing key")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    return parser.parse_args()


def physical(formation, stack):
    """Names of what the stack has, by its names in the template."""
    pages = formation.get_paginator("list_stack_resources").paginate(StackName=stack)
    resources = [r for page in pages for r in page["StackResourceSummaries"]]
    return {r["LogicalResourceId"]: r["PhysicalResourceId"] for r in resources if r.get("PhysicalResourceId") and r["ResourceStatus"] != "DELETE_COMPLETE"}


def data_of(stack):
    """What stays when a stack goes, by the names that the template gives."""
    account, region = boto3.client("sts").get_caller_identity()["Account"], boto3.session.Session().region_name
    return {"Table": stack, "Bucket": f"{stack}-{account}-{region}", "SealingKey": f"{stack}/sealing-key"}


def removed(what, remove, name):
    """Removes one of them; what is not there is as good as removed."""
    try:
        remove(name)
    except ClientError as error:
        if error.response["Error"]["Code"] not in ("ResourceNotFoundException", "NoSuchBucket"):
            raise
        print(f"{what} {name}: not there")
    else:
        print(f"{what} {name}: removed")


def remove_table(name):
    client = boto3.client("dynamodb")
    client.update_table(TableName=name, DeletionProtectionEnabled=False)
    client.get_waiter("table_exists").wait(TableName=name)
    client.delete_table(TableName=name)


def remove_bucket(name):
    client = boto3.client("s3")
    count = 0
    for page in client.get_paginator("list_object_versions").paginate(Bucket=name):
        found = page.get("Versions", []) + page.get("DeleteMarkers", [])
        if found:
            objects = [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in found]
            client.delete_objects(Bucket=name, Delete={"Objects": objects, "Quiet": True})
            count += len(found)
            print(f"bucket {name}: {count} objects removed", flush=True)
    client.delete_bucket(Bucket=name)


def remove_secret(name):
    boto3.client("secretsmanager").delete_secret(SecretId=name, ForceDeleteWithoutRecovery=True)


def main():
    asked = parse()
    formation = boto3.client("cloudformation")
    data = data_of(asked.stack)
    try:
        made = physical(formation, asked.stack)
    except ClientError as error:
        if not asked.data:
            sys.exit(f"There is no stack {asked.stack} in this account and region: {error}")
        made = {}
    rest = len([name for name in made if name not in data])
    print(f"Removes the stack {asked.stack}: {rest} resources." if made else f"The stack {asked.stack} is gone already.")
    print(f"{'Removes for ever' if asked.data else 'Keeps'}: {', '.join(data.values())}.")
    if not asked.yes and input(f"Type {asked.stack} to go on: ").strip() != asked.stack:
        sys.exit("Nothing was removed.")
    if made:
        formation.delete_stack(StackName=asked.stack)
        print("Waiting for CloudFormation", flush=True)
        formation.get_waiter("stack_delete_complete").wait(StackName=asked.stack)
        print(f"stack {asked.stack}: removed")
    if asked.data:
        removed("table", remove_table, data["Table"])
        removed("bucket", remove_bucket, data["Bucket"])
        removed("secret", remove_secret, data["SealingKey"])


main()

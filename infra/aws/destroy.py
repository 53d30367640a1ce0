#!/usr/bin/env python3
"""Removes Gantry from AWS.

    destroy.py [--stack gantry] [--data] [--yes]

The records stay: the table, the bucket with Terraform's states, and the key that seals secret
variables. With --data they are removed too, and no backup is left but the table's own. Before
anything is removed, the stack's name is to be typed, or --yes given.
"""
import argparse
import sys

import boto3
from botocore.exceptions import ClientError


def parse():
    parser = argparse.ArgumentParser(description="Removes Gantry from AWS; the records stay unless --data is given.")
    parser.add_argument("--stack", default="gantry", help="the CloudFormation stack's name (gantry)")
    parser.add_argument("--data", action="store_true", help="remove the records too: table, bucket, sealing key")
    parser.add_argument("--yes", action="store_true", help="do not ask")
    return parser.parse_args()


def physical(formation, stack):
    """Names of what the stack made, by its names in the template."""
    pages = formation.get_paginator("list_stack_resources").paginate(StackName=stack)
    return {r["LogicalResourceId"]: r["PhysicalResourceId"] for page in pages for r in page["StackResourceSummaries"]}


def remove_table(name):
    client = boto3.client("dynamodb")
    client.update_table(TableName=name, DeletionProtectionEnabled=False)
    client.get_waiter("table_exists").wait(TableName=name)
    client.delete_table(TableName=name)
    print(f"table {name}: removed")


def remove_bucket(name):
    client = boto3.client("s3")
    removed = 0
    for page in client.get_paginator("list_object_versions").paginate(Bucket=name):
        found = page.get("Versions", []) + page.get("DeleteMarkers", [])
        if found:
            objects = [{"Key": version["Key"], "VersionId": version["VersionId"]} for version in found]
            client.delete_objects(Bucket=name, Delete={"Objects": objects, "Quiet": True})
            removed += len(found)
            print(f"bucket {name}: {removed} objects removed", flush=True)
    client.delete_bucket(Bucket=name)
    print(f"bucket {name}: removed")


def main():
    asked = parse()
    formation = boto3.client("cloudformation")
    try:
        made = physical(formation, asked.stack)
    except ClientError as error:
        sys.exit(f"There is no stack {asked.stack} in this account and region: {error}")
    kept = {name: made[name] for name in ("Table", "Bucket", "SealingKey") if name in made}
    print(f"Removes the stack {asked.stack}: {len(made) - len(kept)} resources.")
    print(f"{'Removes for ever' if asked.data else 'Keeps'}: {', '.join(kept.values())}.")
    if not asked.yes and input(f"Type {asked.stack} to go on: ").strip() != asked.stack:
        sys.exit("Nothing was removed.")
    formation.delete_stack(StackName=asked.stack)
    print("Waiting for CloudFormation", flush=True)
    formation.get_waiter("stack_delete_complete").wait(StackName=asked.stack)
    print(f"stack {asked.stack}: removed")
    if asked.data:
        remove_table(kept["Table"])
        remove_bucket(kept["Bucket"])
        if "SealingKey" in kept:
            boto3.client("secretsmanager").delete_secret(SecretId=kept["SealingKey"], ForceDeleteWithoutRecovery=True)
            print(f"secret {kept['SealingKey']}: removed")


main()

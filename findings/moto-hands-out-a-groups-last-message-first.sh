#!/usr/bin/env bash
# moto 5.2.5 as SQS: three messages of one group of a FIFO queue are received together, and their
# visibility timeout passes. The next receipt holds the last of them alone. SQS documents that a group
# keeps its order: all three again, the first one first. A test of retries on this stand-in proves
# nothing about order.
#
# Seen: "first: 1 2 3; received again: 3"
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip -q install 'moto[sqs]==5.2.5' boto3
cat > look.py <<'PY'
import time

import boto3
from moto import mock_aws

with mock_aws():
    sqs = boto3.client("sqs", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    url = sqs.create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true", "VisibilityTimeout": "1"})["QueueUrl"]
    for number in "123":
        sqs.send_message(QueueUrl=url, MessageBody=number, MessageGroupId="g", MessageDeduplicationId=number)

    def receive():
        answer = sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10)
        return [message["Body"] for message in answer.get("Messages", [])]

    first = receive()
    time.sleep(1.2)
    again = receive()
    print(f"first: {' '.join(first)}; received again: {' '.join(again)}")
PY
seen=$(venv/bin/python look.py)
echo "$seen"
[ "$seen" = "first: 1 2 3; received again: 3" ]

#!/usr/bin/env bash
# moto 5.2.5 as SQS: a FIFO queue takes a message again, with the same deduplication id, as soon as the
# first one was received and deleted. SQS recognises the id for five minutes, also after the deletion.
# A test that counts on a swallowed repeat fails here, and one that counts on a second delivery passes
# here alone.
#
# Seen: "the same id, after the deletion, within a second: received again"
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip -q install 'moto[sqs]==5.2.5' boto3
cat > look.py <<'PY'
import boto3
from moto import mock_aws

with mock_aws():
    sqs = boto3.client("sqs", region_name="eu-west-1", aws_access_key_id="x", aws_secret_access_key="x")
    url = sqs.create_queue(QueueName="q.fifo", Attributes={"FifoQueue": "true"})["QueueUrl"]

    def send_and_receive():
        sqs.send_message(QueueUrl=url, MessageBody="b", MessageGroupId="g", MessageDeduplicationId="one")
        return sqs.receive_message(QueueUrl=url).get("Messages", [])

    [first] = send_and_receive()
    sqs.delete_message(QueueUrl=url, ReceiptHandle=first["ReceiptHandle"])
    again = send_and_receive()
    print("the same id, after the deletion, within a second:", "received again" if again else "swallowed")
PY
seen=$(venv/bin/python look.py)
echo "$seen"
[ "$seen" = "the same id, after the deletion, within a second: received again" ]

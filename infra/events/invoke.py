#!/usr/bin/env python3
"""Calls a function's binary once, as Lambda would, with no AWS account.

    invoke.py target/debug/gantry-webhook infra/events/webhook.json [NAME=value | NAME= ...]

It stands in for Lambda's Runtime API, and for an AWS where every queue takes everything, the table
is empty and the secrets are samples. Variables that are given replace the sample ones; `NAME=`
takes one away. Prints the function's answer; its logs go to stderr. Exit code 0 when it answered.
"""
import http.server
import json
import os
import queue
import subprocess
import sys
import threading
import time

RUNTIME = "/2018-06-01/runtime/"
WEBHOOK_SECRETS = json.dumps({"token": "sample-secret"})
outcomes = queue.Queue()


def aws(operation, request):
    """The answer of the AWS that is pretended: a status and a body."""
    if operation == "SendMessage":
        return 200, {"MessageId": "sample", "MD5OfMessageBody": ""}
    if operation == "SendMessageBatch":
        entries = [{"Id": e["Id"], "MessageId": "sample", "MD5OfMessageBody": ""} for e in request["Entries"]]
        return 200, {"Successful": entries, "Failed": []}
    if operation == "GetSecretValue":
        name = request["SecretId"]
        return 200, {"Name": name, "SecretString": WEBHOOK_SECRETS if name.endswith("webhook-secrets") else "sample"}
    if operation in ("Query", "Scan"):
        return 200, {"Items": [], "Count": 0, "ScannedCount": 0}
    return 200, {}


class Stand(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, status, body, headers=()):
        data = json.dumps(body).encode()
        self.send_response(status)
        for name, value in [("Content-Type", "application/json"), ("Content-Length", str(len(data))), *headers]:
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self):
        try:
            event = self.server.events.get_nowait()
        except queue.Empty:
            time.sleep(60)  # Nothing more to do: the function is ended meanwhile.
            return
        self.answer(200, event, [
            ("Lambda-Runtime-Aws-Request-Id", "8476a536-e9f4-11e8-9739-2dfe598c3fcd"),
            ("Lambda-Runtime-Deadline-Ms", str(int(time.time() * 1000) + 30_000)),
            ("Lambda-Runtime-Invoked-Function-Arn", "arn:aws:lambda:eu-west-1:123456789012:function:sample"),
        ])

    def do_HEAD(self):
        self.send_response(404)  # The bucket is empty.
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_POST(self):
        body = json.loads(self.rfile.read(int(self.headers.get("Content-Length", 0))) or b"{}")
        target = self.headers.get("X-Amz-Target")
        if target:
            operation = target.split(".")[-1]
            print(f"AWS: {operation}", file=sys.stderr)
            self.answer(*aws(operation, body))
            return
        self.answer(202, {})
        outcomes.put((self.path.startswith(RUNTIME) and self.path.endswith("/response"), body))

    def log_message(self, *_):
        pass


def main():
    binary, event, *settings = sys.argv[1:]
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stand)
    server.daemon_threads = True
    server.events = queue.Queue()
    with open(event, encoding="utf-8") as file:
        server.events.put(json.load(file))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    address = f"127.0.0.1:{server.server_port}"
    names = {"EVENTS": "events.fifo", "SOURCE": "source.fifo", "FEEDBACK": "feedback.fifo", "STARTS": "starts", "LATER": "later"}
    environment = {
        "PATH": os.environ["PATH"], "RUST_LOG": "info", "NO_COLOR": "1",
        "AWS_LAMBDA_RUNTIME_API": address, "AWS_ENDPOINT_URL": f"http://{address}",
        "AWS_LAMBDA_FUNCTION_NAME": "sample", "AWS_LAMBDA_FUNCTION_VERSION": "1",
        "AWS_LAMBDA_FUNCTION_MEMORY_SIZE": "128", "AWS_LAMBDA_LOG_GROUP_NAME": "g", "AWS_LAMBDA_LOG_STREAM_NAME": "s",
        "AWS_REGION": "eu-west-1", "AWS_ACCESS_KEY_ID": "sample", "AWS_SECRET_ACCESS_KEY": "sample",
        "GANTRY_TABLE": "gantry", "GANTRY_BUCKET": "gantry", "GANTRY_PUBLIC_URL": "https://gantry.example.com",
        "GANTRY_CODEBUILD_PROJECT": "gantry-runner", "GANTRY_INSTALLATION": "gantry",
        "GANTRY_SECRETS_PREFIX": "gantry/",
        "GANTRY_PLAN_ROLE": "arn:aws:iam::123456789012:role/gantry/plan/sample",
        "GANTRY_APPLY_ROLE": "arn:aws:iam::123456789012:role/gantry/apply/sample",
        **{f"GANTRY_QUEUE_{name}_URL": f"http://{address}/123456789012/gantry-{real}" for name, real in names.items()},
    }
    for setting in settings:
        name, _, value = setting.partition("=")
        environment[name] = value
    child = subprocess.Popen([binary], env={n: v for n, v in environment.items() if v})
    ended = threading.Thread(target=lambda: (child.wait(), outcomes.put((False, f"ended with {child.returncode}"))))
    ended.daemon = True
    ended.start()
    try:
        answered, body = outcomes.get(timeout=35)
    except queue.Empty:
        answered, body = False, "no answer in 35 s"
    child.terminate()
    print(json.dumps(body, indent=2))
    sys.exit(0 if answered else 1)


main()

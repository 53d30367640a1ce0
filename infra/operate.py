#!/usr/bin/env python3
"""Operates a Gantry from a terminal, over its admin API.

    GANTRY_URL=https://gantry.example.com GANTRY_KEY=… operate.py COMMAND

    dead-letters      show the messages that were given up
    redrive [QUEUE]   send them again: of events, source, feedback, starts or later, or all
    pause             start no runner from now on, and say how many runs still execute; webhooks are
                      still taken and decided
    resume            start runners again
    restore           after the table was restored to an earlier time: point each stack to the newest
                      state that object storage holds; only while paused

The key is an admin key. Exit code 0 when it was done; 1 with the reason when not.
"""
import json
import os
import sys
import urllib.error
import urllib.parse
import urllib.request


def api(method, path, body=None):
    url, key = os.environ.get("GANTRY_URL", "").rstrip("/"), os.environ.get("GANTRY_KEY")
    if not url or not key:
        sys.exit("Set GANTRY_URL (https://gantry.example.com) and GANTRY_KEY (an admin key).")
    request = urllib.request.Request(f"{url}/api/v1{path}", method=method)
    request.add_header("Authorization", f"Bearer {key}")
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps(body).encode()
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        text = error.read().decode(errors="replace")
        try:
            problem = json.loads(text)
            text = f"{problem['title']}: {problem['detail']}"
        except (ValueError, KeyError):
            pass
        sys.exit(f"{method} {path} answered {error.code}. {text}")
    except OSError as error:
        sys.exit(f"{url} cannot be reached: {error}")


def dead_letters():
    found = api("GET", "/operations")
    if found["pause"]:
        print(f"no runner is started: {found['pause']['by']} asked for it at {found['pause']['since']}")
    if found["fewer_runners"]:
        fewer = found["fewer_runners"]
        print(f"the cloud takes only {fewer['runners']} runners since {fewer['since']}: {fewer['words']}")
    letters = [(queue["queue"], letter) for queue in found["dead_letters"] for letter in queue["messages"]]
    for queue, letter in letters:
        print(f"{queue}\t{letter['sent_at']}\t{letter['kind']}\t{letter['group'] or '-'}\t{letter['error'] or '-'}")
    if not letters:
        print("no message was given up")


def redrive(queue=None):
    while True:
        sent = api("POST", "/operations/redrive", {"queue": queue} if queue else {})
        for name, count in sent.items():
            print(f"{name}: {count} sent again")
        # A call sends some hundreds; where there were as many there may be more.
        if not any(count >= 500 for count in sent.values()):
            return


def pause():
    api("PUT", "/operations/pause", {"paused": True})
    states = "preparing,initializing,planning,applying,destroying"
    found = api("GET", f"/runs?state={states}&limit=100")
    count = len(found["runs"])
    more = "at least " if found["next"] else ""
    print(f"no runner is started from now on; {more}{count or 'no'} {'run executes' if count < 2 else 'runs execute'}")


def restore():
    after, stacks, conflicts = "", 0, 0
    while after is not None:
        query = urllib.parse.urlencode({"after": after})
        answer = api("POST", f"/operations/restore-states?{query}")
        for stack in answer["stacks"]:
            stacks += 1
            print(f"{stack['stack']}: serial {stack['before']} -> {stack['current']}, {stack['found']} states found")
            if stack["conflict"]:
                conflicts += 1
                print(f"  decide: {stack['conflict']}")
        after = answer["next"]
    print(f"{stacks} stacks had states that the records did not know, {conflicts} wait for your decision")


def main():
    match sys.argv[1:]:
        case ["dead-letters"]:
            dead_letters()
        case ["redrive", *queue] if len(queue) < 2:
            redrive(*queue)
        case ["pause"]:
            pause()
        case ["resume"]:
            api("PUT", "/operations/pause", {"paused": False})
            print("runners are started again")
        case ["restore"]:
            restore()
        case ["-h" | "--help"]:
            print(__doc__.strip())
        case _:
            sys.exit(__doc__.strip())


main()

#!/usr/bin/env bash
# OpenTofu 1.12.6: a state that an http backend refuses is written to errored.tfstate under the
# *next* serial and in another form than the one that was sent: laid out, where the body was compact.
# Whoever compares digests, or serials, to find out whether a rescued file is the state that was sent
# takes one state for two. (Terraform 1.11.4 writes the very bytes that it sent.)
#
# Seen: "sent serial 1, errored.tfstate has serial 2; same lineage and resources; 1 line against 40"
# (the number of lines may differ).
set -euo pipefail

work=$(mktemp -d)
trap '[ -z "${server:-}" ] || kill "$server"; rm -rf "$work"' EXIT
cd "$work"
cat > go.mod <<'MOD'
module example.invalid/tofu

go 1.26.6

replace github.com/hashicorp/hcl/v2 v2.20.1 => github.com/opentofu/hcl/v2 v2.20.2-0.20251021132045-587d123c2828

tool github.com/opentofu/opentofu/cmd/tofu

require github.com/opentofu/opentofu v1.12.6
MOD
echo "building OpenTofu 1.12.6 from its Go module; this takes some minutes the first time"
go mod tidy 2> /dev/null
CGO_ENABLED=0 go build -trimpath -buildvcs=false \
    -ldflags '-s -w -X github.com/opentofu/opentofu/version.dev=no' \
    -o tofu github.com/opentofu/opentofu/cmd/tofu
export TF_CLI_CONFIG_FILE=/dev/null CHECKPOINT_DISABLE=1
./tofu version | head -n 1

mkdir run
cd run
cat > server.py <<'PY'
import http.server, pathlib

class Backend(http.server.BaseHTTPRequestHandler):
    def log_message(self, *_): pass
    def do_GET(self):
        self.send_response(204); self.end_headers()
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        pathlib.Path("sent.json").write_bytes(body)
        self.send_response(400); self.end_headers()

server = http.server.HTTPServer(("127.0.0.1", 0), Backend)
pathlib.Path("port.new").write_text(str(server.server_address[1]))
pathlib.Path("port.new").rename("port")
server.serve_forever()
PY
python3 server.py & server=$!
for _ in $(seq 100); do [ -e port ] && break; sleep 0.1; done
cat > main.tf <<HCL
terraform {
  backend "http" {
    address = "http://127.0.0.1:$(cat port)/state"
  }
}

resource "terraform_data" "one" {
  input = "a"
}
HCL
TF_HTTP_RETRY_MAX=0 ../tofu init -input=false > /dev/null
! TF_HTTP_RETRY_MAX=0 ../tofu apply -input=false -auto-approve > apply.log 2>&1
python3 - <<'PY'
import json, pathlib, sys
sent, kept = (pathlib.Path(name).read_text() for name in ("sent.json", "errored.tfstate"))
a, b = json.loads(sent), json.loads(kept)
same = a["lineage"] == b["lineage"] and a["resources"] == b["resources"]
lines = [len(text.splitlines()) for text in (sent, kept)]
print(f"sent serial {a['serial']}, errored.tfstate has serial {b['serial']}; "
      f"{'same' if same else 'other'} lineage and resources; {lines[0]} line against {lines[1]}")
sys.exit(0 if same and b["serial"] == a["serial"] + 1 and lines[0] == 1 < lines[1] else 1)
PY

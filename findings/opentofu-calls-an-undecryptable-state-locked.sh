#!/usr/bin/env bash
# OpenTofu 1.12.6: a state that cannot be decrypted (another passphrase) is reported under the headline
# "Error acquiring the state lock", although nobody holds a lock and no lock file exists. Whoever tells
# people "the state is locked, unlock it" by that headline sends them the wrong way; "Lock Info:" is
# only in the text when there is a lock.
#
# Seen: "Error acquiring the state lock; Lock Info: absent; lock file: absent"
set -euo pipefail

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
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
cat > main.tf <<'HCL'
variable "passphrase" {
  type = string
}

terraform {
  encryption {
    key_provider "pbkdf2" "key" {
      passphrase = var.passphrase
    }
    method "aes_gcm" "method" {
      keys = key_provider.pbkdf2.key
    }
    state {
      method = method.aes_gcm.method
    }
  }
}

resource "terraform_data" "one" {}
HCL
export TF_VAR_passphrase=the-first-long-passphrase
../tofu init -input=false > /dev/null
../tofu apply -input=false -auto-approve > /dev/null
export TF_VAR_passphrase=another-long-passphrase
! ../tofu apply -no-color -input=false -auto-approve > second.log 2>&1
headline=$(grep -o 'Error acquiring the state lock' second.log | head -n 1)
info=$(grep -q 'Lock Info:' second.log && echo present || echo absent)
file=$(ls .terraform.tfstate.lock.info > /dev/null 2>&1 && echo present || echo absent)
echo "$headline; Lock Info: $info; lock file: $file"
[ -n "$headline" ] && [ "$info $file" = "absent absent" ] || exit 1

#!/usr/bin/env bash
# OpenTofu 1.12.6: a plan was made with -var for an *ephemeral* variable that has a default. Applying
# the saved plan without that argument succeeds, with the default: what was planned is not what is
# applied, and nothing says so. (Terraform 1.11.4 refuses: the variable "was set during the plan
# phase, and so must also be set during the apply phase".)
#
# Seen: "planned with given, applied with default, exit 0"
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
variable "token" {
  type      = string
  default   = "default"
  ephemeral = true
}

resource "terraform_data" "one" {
  provisioner "local-exec" {
    command     = "printf %s \"$TOKEN\" > applied"
    environment = { TOKEN = var.token }
  }
}
HCL
../tofu init -input=false > /dev/null
../tofu plan -input=false -var=token=given -out=plan > /dev/null
status=0
../tofu apply -input=false plan > apply.log 2>&1 || status=$?
applied=$(cat applied 2> /dev/null || echo nothing)
echo "planned with given, applied with $applied, exit $status"
[ "$applied" = default ] && [ "$status" = 0 ] || exit 1

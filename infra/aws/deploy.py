#!/usr/bin/env python3
"""Deploys the transformed template to moto's server, and prints what came of it as JSON.

    template.py | deploy.py http://127.0.0.1:5555

What moto's CloudFormation does not know is taken out of the template (stderr says what) and, where
the functions need it, made by moto's API: secrets. References to it become the values that AWS would
give. Everything else is what CloudFormation made of it.
"""
import ast
import io
import json
import logging
import re
import secrets
import string
import sys
import zipfile

import boto3
from moto.cloudformation import parsing

REGION, ACCOUNT, STACK = "eu-west-1", "123456789012", "gantry"
MOTO = sys.argv[1]
logging.disable(logging.WARNING)


def client(name):
    return boto3.client(name, endpoint_url=MOTO, region_name=REGION, aws_access_key_id="deployer", aws_secret_access_key="x")


template = json.load(sys.stdin)
known = {name: parameter["Default"] for name, parameter in template["Parameters"].items()}
known |= {"AWS::Region": REGION, "AWS::AccountId": ACCOUNT, "AWS::Partition": "aws", "AWS::URLSuffix": "amazonaws.com", "AWS::StackName": STACK}
resources = template["Resources"]
unknown = {name: resources.pop(name) for name, r in list(resources.items()) if parsing.resource_class_from_type(r["Type"]) is None}
# The tests poll the queues themselves: moto would start containers.
mappings = {name: resources.pop(name) for name, r in list(resources.items()) if r["Type"] == "AWS::Lambda::EventSourceMapping"}


def text(value):
    """A literal, a parameter, or a substitution of parameters."""
    if isinstance(value, dict) and "Ref" in value:
        return known[value["Ref"]]
    if isinstance(value, dict) and "Fn::Sub" in value:
        return re.sub(r"\$\{([\w:]+)\}", lambda match: known[match[1]], value["Fn::Sub"])
    return value


def reference(name):
    resource = unknown[name]
    properties = resource.get("Properties", {})
    if resource["Type"] == "AWS::SecretsManager::Secret":
        return f"arn:aws:secretsmanager:{REGION}:{ACCOUNT}:secret:{text(properties['Name'])}-??????"
    return text(properties.get("Name", name.lower()))


def attribute(name, attribute):
    if unknown[name]["Type"] == "AWS::CodeBuild::Project":
        return f"arn:aws:codebuild:{REGION}:{ACCOUNT}:project/{reference(name)}"
    return f"{reference(name)}.{attribute}"


def without_unknown(value):
    if isinstance(value, list):
        return [without_unknown(item) for item in value]
    if not isinstance(value, dict):
        return value
    if value.get("Ref") in unknown:
        return reference(value["Ref"])
    if value.get("Fn::GetAtt", [None])[0] in unknown:
        return attribute(*value["Fn::GetAtt"])
    if isinstance(value.get("Fn::Sub"), str):
        def substitute(match):
            name, _, after = match[1].partition(".")
            return match[0] if name not in unknown else attribute(name, after) if after else reference(name)
        return {"Fn::Sub": re.sub(r"\$\{([\w.:]+)\}", substitute, value["Fn::Sub"])}
    return {key: without_unknown(item) for key, item in value.items()}


def code(s3):
    """What CloudFormation is to find where functions and the layer have their code."""
    s3.create_bucket(Bucket="artifacts", CreateBucketConfiguration={"LocationConstraint": REGION})
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("bootstrap", "")
    for resource in resources.values():
        place = resource["Properties"].get("Code", resource["Properties"].get("Content"))
        if isinstance(place, dict) and "S3Key" in place:
            s3.put_object(Bucket="artifacts", Key=place["S3Key"], Body=archive.getvalue())


def generated(properties):
    wanted = properties.get("GenerateSecretString")
    if wanted is None:
        return None
    alphabet = string.ascii_letters + string.digits
    return "".join(secrets.choice(alphabet) for _ in range(wanted["PasswordLength"]))


code(client("s3"))
# Outputs are for people; those that name what moto does not know would stop it.
stack = without_unknown(template)
stack.pop("Outputs")
formation = client("cloudformation")
formation.create_stack(StackName=STACK, TemplateBody=json.dumps(stack), Capabilities=["CAPABILITY_IAM"])
status = formation.describe_stacks(StackName=STACK)["Stacks"][0]
if status["StackStatus"] != "CREATE_COMPLETE":
    sys.exit(f"the stack is {status['StackStatus']}: {status.get('StackStatusReason')}")
made = {r["LogicalResourceId"]: r["PhysicalResourceId"] for r in formation.list_stack_resources(StackName=STACK)["StackResourceSummaries"]}
wanted = {name for name, r in resources.items() if "Condition" not in r}
missing = wanted - made.keys()
if missing:
    sys.exit(f"moto's CloudFormation did not make {sorted(missing)}")
print("not known to moto's CloudFormation:", ", ".join(sorted({r["Type"] for r in unknown.values()})), file=sys.stderr)

manager = client("secretsmanager")
for name, resource in unknown.items():
    if resource["Type"] == "AWS::SecretsManager::Secret":
        value = generated(resource["Properties"])
        manager.create_secret(Name=text(resource["Properties"]["Name"]), **({"SecretString": value} if value else {}))

iam, functions, queues = client("iam"), client("lambda"), client("sqs")


def role(name):
    name = made[name] if name in made else name
    found = iam.get_role(RoleName=name)["Role"]
    documents = [iam.get_role_policy(RoleName=name, PolicyName=policy)["PolicyDocument"] for policy in iam.list_role_policies(RoleName=name)["PolicyNames"]]
    # moto writes down what CloudFormation made as Python, not as JSON.
    documents = [ast.literal_eval(document) if isinstance(document, str) else document for document in documents]
    return {"arn": found["Arn"], "policies": documents}


def function(name):
    found = functions.get_function_configuration(FunctionName=made[name])
    return {
        "timeout": found["Timeout"],
        "environment": {key: str(value) for key, value in found["Environment"]["Variables"].items()},
        "role": role(resources[name]["Properties"]["Role"]["Fn::GetAtt"][0]),
    }


def routes():
    (api,) = [r for r in unknown.values() if r["Type"] == "AWS::ApiGatewayV2::Api"]
    for path, methods in api["Properties"]["Body"]["paths"].items():
        for method, route in methods.items():
            uri = json.dumps(route["x-amazon-apigateway-integration"]["uri"])
            yield {"method": method, "path": path, "function": re.search(r"\$\{(\w+)\.Arn\}", uri)[1]}


def project():
    (found,) = [r["Properties"] for r in unknown.values() if r["Type"] == "AWS::CodeBuild::Project"]
    variables = {v["Name"]: str(text(v["Value"]) if v["Value"].get("Ref", "") in known else made.get(v["Value"].get("Ref"), "")) if isinstance(v["Value"], dict) else str(v["Value"]) for v in found["Environment"]["EnvironmentVariables"]}
    return {"name": text(found["Name"]), "variables": variables, "buildspec": found["Source"]["BuildSpec"], "role": role(found["ServiceRole"]["Fn::GetAtt"][0])["arn"]}


names = [name for name, r in resources.items() if r["Type"] == "AWS::Lambda::Function"]
json.dump({
    "table": made["Table"],
    "bucket": made["Bucket"],
    "functions": {name: function(name) for name in names},
    "routes": list(routes()),
    "mappings": [{
        "queue": made[m["Properties"]["EventSourceArn"]["Fn::GetAtt"][0]],
        "function": m["Properties"]["FunctionName"]["Ref"],
        "batch": m["Properties"]["BatchSize"],
        "reports_failures": "ReportBatchItemFailures" in m["Properties"].get("FunctionResponseTypes", []),
    } for m in mappings.values()],
    "project": project(),
    "apply_role": role("ApplyRole")["arn"],
}, sys.stdout, indent=1)

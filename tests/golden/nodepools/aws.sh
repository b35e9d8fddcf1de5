#!/usr/bin/env bash
# Written by `plimsoll nodepools`. Makes what is missing and sets what can be changed in place;
# what is there already is not made twice, so that it can be run again at any time.
set -euo pipefail

# Whether the first word is one of the words of the second, which may be over several lines.
has() {
  local word
  for word in $2; do
    if [ "$word" = "$1" ]; then return 0; fi
  done
  return 1
}

: "${EKS_NODE_ROLE:?say the ARN of the IAM role of nodes}"
: "${EKS_SUBNETS:?say the ids of the subnets of nodes, with spaces between}"
: "${EKS_SUBNETS_ZONED:?say the ids of the subnets of nodes in europe-west4-a, with spaces between}"
: "${EKS_SUBNETS_PART_SPOT:?say the ids of the subnets of nodes in europe-west4-a, with spaces between}"
: "${EKS_SUBNETS_BOUGHT:?say the ids of the subnets of nodes in europe-west4-a, with spaces between}"
: "${EKS_SUBNETS_TURNS:?say the ids of the subnets of nodes in europe-west4-a, with spaces between}"
: "${EKS_SUBNETS_CUT:?say the ids of the subnets of nodes in europe-west4-a, with spaces between}"
: "${EKS_SUBNETS_CUT_MIXED:?say the ids of the subnets of nodes in europe-west4-a, with spaces between}"
: "${EKS_SUBNETS_PLAIN:?say the ids of the subnets of nodes in europe-west4-a, with spaces between}"
: "${MACHINE_PLAIN:?say the machine type of pool plain}"

region='eu-west-1'
cluster='inference'
read -ra subnets <<<"$EKS_SUBNETS"

# Disk, instance metadata and reservation are the launch template's. One that is there
# is left as it is: give the pool another name to change them, and move to it.
# UserData makes the disks inside the machine one volume for images and scratch.
template='plimsoll-open'
templates="$(aws ec2 describe-launch-templates \
  --region "$region" \
  --query 'LaunchTemplates[].LaunchTemplateName' \
  --output text)"
data='{"BlockDeviceMappings":[{"DeviceName":"/dev/xvda","Ebs":{"DeleteOnTermination":true,"Encrypted":true,"Iops":4000,"Throughput":1000,"VolumeSize":60,"VolumeType":"gp3"}}],"MetadataOptions":{"HttpEndpoint":"enabled","HttpPutResponseHopLimit":1,"HttpTokens":"required"},"UserData":"TUlNRS1WZXJzaW9uOiAxLjAKQ29udGVudC1UeXBlOiBtdWx0aXBhcnQvbWl4ZWQ7IGJvdW5kYXJ5PSJwbGltc29sbCIKCi0tcGxpbXNvbGwKQ29udGVudC1UeXBlOiBhcHBsaWNhdGlvbi9ub2RlLmVrcy5hd3MKCmFwaVZlcnNpb246IG5vZGUuZWtzLmF3cy92MWFscGhhMQpraW5kOiBOb2RlQ29uZmlnCnNwZWM6CiAgaW5zdGFuY2U6CiAgICBsb2NhbFN0b3JhZ2U6CiAgICAgIHN0cmF0ZWd5OiBSQUlEMAoKLS1wbGltc29sbC0tCg=="}'
if ! has "$template" "$templates"; then
  echo "making launch template $template"
  aws ec2 create-launch-template \
    --region "$region" \
    --launch-template-name "$template" \
    --launch-template-data "$data" \
    --output text \
    >/dev/null
fi

# Pool open: on-demand nodes, p5.48xlarge with 8 x H100-80GB-SXM, 1 to 4 of them.
name='open'
existing="$(aws eks list-nodegroups \
  --region "$region" \
  --cluster-name "$cluster" \
  --query 'nodegroups[]' \
  --output text)"
if has "$name" "$existing"; then
  echo "node group $name is there: setting its bounds, labels and taints"
  aws eks wait nodegroup-active \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name"
  aws eks update-nodegroup-config \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name" \
    --scaling-config minSize=1,maxSize=4 \
    --labels '{"addOrUpdateLabels":{"plimsoll.dev/pool":"open"}}' \
    --taints '{"addOrUpdateTaints":[{"effect":"NO_SCHEDULE","key":"nvidia.com/gpu","value":"present"}]}' \
    --output text \
    >/dev/null
else
  echo "making node group $name"
  aws eks create-nodegroup \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name" \
    --node-role "$EKS_NODE_ROLE" \
    --subnets "${subnets[@]}" \
    --ami-type AL2023_x86_64_NVIDIA \
    --capacity-type ON_DEMAND \
    --instance-types p5.48xlarge \
    --scaling-config minSize=1,maxSize=4,desiredSize=1 \
    --update-config maxUnavailable=1 \
    --labels '{"plimsoll.dev/pool":"open"}' \
    --taints '[{"effect":"NO_SCHEDULE","key":"nvidia.com/gpu","value":"present"}]' \
    --launch-template "name=$template,version=1" \
    --output text \
    >/dev/null
  aws eks wait nodegroup-active \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name"
fi

region='eu-west-1'
cluster='inference'
read -ra subnets <<<"$EKS_SUBNETS_ZONED"

# Disk, instance metadata and reservation are the launch template's. One that is there
# is left as it is: give the pool another name to change them, and move to it.
# UserData makes the disks inside the machine one volume for images and scratch.
template='plimsoll-zoned'
templates="$(aws ec2 describe-launch-templates \
  --region "$region" \
  --query 'LaunchTemplates[].LaunchTemplateName' \
  --output text)"
data='{"BlockDeviceMappings":[{"DeviceName":"/dev/xvda","Ebs":{"DeleteOnTermination":true,"Encrypted":true,"Iops":4000,"Throughput":1000,"VolumeSize":60,"VolumeType":"gp3"}}],"MetadataOptions":{"HttpEndpoint":"enabled","HttpPutResponseHopLimit":1,"HttpTokens":"required"},"UserData":"TUlNRS1WZXJzaW9uOiAxLjAKQ29udGVudC1UeXBlOiBtdWx0aXBhcnQvbWl4ZWQ7IGJvdW5kYXJ5PSJwbGltc29sbCIKCi0tcGxpbXNvbGwKQ29udGVudC1UeXBlOiBhcHBsaWNhdGlvbi9ub2RlLmVrcy5hd3MKCmFwaVZlcnNpb246IG5vZGUuZWtzLmF3cy92MWFscGhhMQpraW5kOiBOb2RlQ29uZmlnCnNwZWM6CiAgaW5zdGFuY2U6CiAgICBsb2NhbFN0b3JhZ2U6CiAgICAgIHN0cmF0ZWd5OiBSQUlEMAoKLS1wbGltc29sbC0tCg=="}'
if ! has "$template" "$templates"; then
  echo "making launch template $template"
  aws ec2 create-launch-template \
    --region "$region" \
    --launch-template-name "$template" \
    --launch-template-data "$data" \
    --output text \
    >/dev/null
fi

# Pool zoned: spot nodes, p5.48xlarge with 8 x H100-80GB-SXM, 0 to 1 of them.
# From zero nodes the cluster autoscaler needs the right eks:DescribeNodegroup.
name='zoned'
existing="$(aws eks list-nodegroups \
  --region "$region" \
  --cluster-name "$cluster" \
  --query 'nodegroups[]' \
  --output text)"
if has "$name" "$existing"; then
  echo "node group $name is there: setting its bounds, labels and taints"
  aws eks wait nodegroup-active \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name"
  aws eks update-nodegroup-config \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name" \
    --scaling-config minSize=0,maxSize=1 \
    --labels '{"addOrUpdateLabels":{"plimsoll.dev/pool":"zoned","team":"ml"}}' \
    --taints '{"addOrUpdateTaints":[{"effect":"NO_SCHEDULE","key":"nvidia.com/gpu","value":"present"},{"effect":"NO_SCHEDULE","key":"team","value":"ml"},{"effect":"PREFER_NO_SCHEDULE","key":"slow"}]}' \
    --output text \
    >/dev/null
else
  echo "making node group $name"
  aws eks create-nodegroup \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name" \
    --node-role "$EKS_NODE_ROLE" \
    --subnets "${subnets[@]}" \
    --ami-type AL2023_x86_64_NVIDIA \
    --capacity-type SPOT \
    --instance-types p5.48xlarge \
    --scaling-config minSize=0,maxSize=1,desiredSize=0 \
    --update-config maxUnavailable=1 \
    --labels '{"plimsoll.dev/pool":"zoned","team":"ml"}' \
    --taints '[{"effect":"NO_SCHEDULE","key":"nvidia.com/gpu","value":"present"},{"effect":"NO_SCHEDULE","key":"team","value":"ml"},{"effect":"PREFER_NO_SCHEDULE","key":"slow"}]' \
    --launch-template "name=$template,version=1" \
    --output text \
    >/dev/null
  aws eks wait nodegroup-active \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name"
fi

region='eu-west-1'
cluster='inference'
read -ra subnets <<<"$EKS_SUBNETS_PART_SPOT"

# Disk, instance metadata and reservation are the launch template's. One that is there
# is left as it is: give the pool another name to change them, and move to it.
# UserData makes the disks inside the machine one volume for images and scratch.
template='plimsoll-part-spot'
templates="$(aws ec2 describe-launch-templates \
  --region "$region" \
  --query 'LaunchTemplates[].LaunchTemplateName' \
  --output text)"
data='{"BlockDeviceMappings":[{"DeviceName":"/dev/xvda","Ebs":{"DeleteOnTermination":true,"Encrypted":true,"Iops":4000,"Throughput":1000,"VolumeSize":60,"VolumeType":"gp3"}}],"MetadataOptions":{"HttpEndpoint":"enabled","HttpPutResponseHopLimit":1,"HttpTokens":"required"},"UserData":"TUlNRS1WZXJzaW9uOiAxLjAKQ29udGVudC1UeXBlOiBtdWx0aXBhcnQvbWl4ZWQ7IGJvdW5kYXJ5PSJwbGltc29sbCIKCi0tcGxpbXNvbGwKQ29udGVudC1UeXBlOiBhcHBsaWNhdGlvbi9ub2RlLmVrcy5hd3MKCmFwaVZlcnNpb246IG5vZGUuZWtzLmF3cy92MWFscGhhMQpraW5kOiBOb2RlQ29uZmlnCnNwZWM6CiAgaW5zdGFuY2U6CiAgICBsb2NhbFN0b3JhZ2U6CiAgICAgIHN0cmF0ZWd5OiBSQUlEMAoKLS1wbGltc29sbC0tCg=="}'
if ! has "$template" "$templates"; then
  echo "making launch template $template"
  aws ec2 create-launch-template \
    --region "$region" \
    --launch-template-name "$template" \
    --launch-template-data "$data" \
    --output text \
    >/dev/null
fi

# Pool part-spot: spot nodes, p5.48xlarge with 8 x H100-80GB-SXM, 0 to 7 of them.
# From zero nodes the cluster autoscaler needs the right eks:DescribeNodegroup.
name='part-spot-spot'
existing="$(aws eks list-nodegroups \
  --region "$region" \
  --cluster-name "$cluster" \
  --query 'nodegroups[]' \
  --output text)"
if has "$name" "$existing"; then
  echo "node group $name is there: setting its bounds, labels and taints"
  aws eks wait nodegroup-active \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name"
  aws eks update-nodegroup-config \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name" \
    --scaling-config minSize=0,maxSize=7 \
    --labels '{"addOrUpdateLabels":{"plimsoll.dev/pool":"part-spot"}}' \
    --taints '{"addOrUpdateTaints":[{"effect":"NO_SCHEDULE","key":"nvidia.com/gpu","value":"present"}]}' \
    --output text \
    >/dev/null
else
  echo "making node group $name"
  aws eks create-nodegroup \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name" \
    --node-role "$EKS_NODE_ROLE" \
    --subnets "${subnets[@]}" \
    --ami-type AL2023_x86_64_NVIDIA \
    --capacity-type SPOT \
    --instance-types p5.48xlarge \
    --scaling-config minSize=0,maxSize=7,desiredSize=0 \
    --update-config maxUnavailable=1 \
    --labels '{"plimsoll.dev/pool":"part-spot"}' \
    --taints '[{"effect":"NO_SCHEDULE","key":"nvidia.com/gpu","value":"present"}]' \
    --launch-template "name=$template,version=1" \
    --output text \
    >/dev/null
  aws eks wait nodegroup-active \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name"
fi

# Pool part-spot: on-demand nodes, p5.48xlarge with 8 x H100-80GB-SXM, 2 to 3 of them.
name='part-spot-on-demand'
existing="$(aws eks list-nodegroups \
  --region "$region" \
  --cluster-name "$cluster" \
  --query 'nodegroups[]' \
  --output text)"
if has "$name" "$existing"; then
  echo "node group $name is there: setting its bounds, labels and taints"
  aws eks wait nodegroup-active \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name"
  aws eks update-nodegroup-config \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name" \
    --scaling-config minSize=2,maxSize=3 \
    --labels '{"addOrUpdateLabels":{"plimsoll.dev/pool":"part-spot"}}' \
    --taints '{"addOrUpdateTaints":[{"effect":"NO_SCHEDULE","key":"nvidia.com/gpu","value":"present"}]}' \
    --output text \
    >/dev/null
else
  echo "making node group $name"
  aws eks create-nodegroup \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name" \
    --node-role "$EKS_NODE_ROLE" \
    --subnets "${subnets[@]}" \
    --ami-type AL2023_x86_64_NVIDIA \
    --capacity-type ON_DEMAND \
    --instance-types p5.48xlarge \
    --scaling-config minSize=2,maxSize=3,desiredSize=2 \
    --update-config maxUnavailable=1 \
    --labels '{"plimsoll.dev/pool":"part-spot"}' \
    --taints '[{"effect":"NO_SCHEDULE","key":"nvidia.com/gpu","value":"present"}]' \
    --launch-template "name=$template,version=1" \
    --output text \
    >/dev/null
  aws eks wait nodegroup-active \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name"
fi

region='eu-west-1'
cluster='inference'
read -ra subnets <<<"$EKS_SUBNETS_BOUGHT"
# A capacity block is bought ahead and asked for otherwise than a reservation.
reservation_type="$(aws ec2 describe-capacity-reservations \
  --region "$region" \
  --capacity-reservation-ids cr-0a1b \
  --query 'CapacityReservations[0].ReservationType' \
  --output text)"

# Disk, instance metadata and reservation are the launch template's. One that is there
# is left as it is: give the pool another name to change them, and move to it.
# UserData makes the disks inside the machine one volume for images and scratch.
template='plimsoll-bought'
templates="$(aws ec2 describe-launch-templates \
  --region "$region" \
  --query 'LaunchTemplates[].LaunchTemplateName' \
  --output text)"
if [ "$reservation_type" = capacity-block ]; then
  capacity=CAPACITY_BLOCK
  data='{"BlockDeviceMappings":[{"DeviceName":"/dev/xvda","Ebs":{"DeleteOnTermination":true,"Encrypted":true,"Iops":4000,"Throughput":1000,"VolumeSize":60,"VolumeType":"gp3"}}],"CapacityReservationSpecification":{"CapacityReservationTarget":{"CapacityReservationId":"cr-0a1b"}},"InstanceMarketOptions":{"MarketType":"capacity-block"},"InstanceType":"p5.48xlarge","MetadataOptions":{"HttpEndpoint":"enabled","HttpPutResponseHopLimit":1,"HttpTokens":"required"},"UserData":"TUlNRS1WZXJzaW9uOiAxLjAKQ29udGVudC1UeXBlOiBtdWx0aXBhcnQvbWl4ZWQ7IGJvdW5kYXJ5PSJwbGltc29sbCIKCi0tcGxpbXNvbGwKQ29udGVudC1UeXBlOiBhcHBsaWNhdGlvbi9ub2RlLmVrcy5hd3MKCmFwaVZlcnNpb246IG5vZGUuZWtzLmF3cy92MWFscGhhMQpraW5kOiBOb2RlQ29uZmlnCnNwZWM6CiAgaW5zdGFuY2U6CiAgICBsb2NhbFN0b3JhZ2U6CiAgICAgIHN0cmF0ZWd5OiBSQUlEMAoKLS1wbGltc29sbC0tCg=="}'
else
  capacity=ON_DEMAND
  data='{"BlockDeviceMappings":[{"DeviceName":"/dev/xvda","Ebs":{"DeleteOnTermination":true,"Encrypted":true,"Iops":4000,"Throughput":1000,"VolumeSize":60,"VolumeType":"gp3"}}],"CapacityReservationSpecification":{"CapacityReservationTarget":{"CapacityReservationId":"cr-0a1b"}},"InstanceType":"p5.48xlarge","MetadataOptions":{"HttpEndpoint":"enabled","HttpPutResponseHopLimit":1,"HttpTokens":"required"},"UserData":"TUlNRS1WZXJzaW9uOiAxLjAKQ29udGVudC1UeXBlOiBtdWx0aXBhcnQvbWl4ZWQ7IGJvdW5kYXJ5PSJwbGltc29sbCIKCi0tcGxpbXNvbGwKQ29udGVudC1UeXBlOiBhcHBsaWNhdGlvbi9ub2RlLmVrcy5hd3MKCmFwaVZlcnNpb246IG5vZGUuZWtzLmF3cy92MWFscGhhMQpraW5kOiBOb2RlQ29uZmlnCnNwZWM6CiAgaW5zdGFuY2U6CiAgICBsb2NhbFN0b3JhZ2U6CiAgICAgIHN0cmF0ZWd5OiBSQUlEMAoKLS1wbGltc29sbC0tCg=="}'
fi
if ! has "$template" "$templates"; then
  echo "making launch template $template"
  aws ec2 create-launch-template \
    --region "$region" \
    --launch-template-name "$template" \
    --launch-template-data "$data" \
    --output text \
    >/dev/null
fi

# Pool bought: reserved nodes, p5.48xlarge with 8 x H100-80GB-SXM, 0 to 1 of them.
# From zero nodes the cluster autoscaler needs the right eks:DescribeNodegroup.
name='bought'
existing="$(aws eks list-nodegroups \
  --region "$region" \
  --cluster-name "$cluster" \
  --query 'nodegroups[]' \
  --output text)"
if has "$name" "$existing"; then
  echo "node group $name is there: setting its bounds, labels and taints"
  aws eks wait nodegroup-active \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name"
  aws eks update-nodegroup-config \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name" \
    --scaling-config minSize=0,maxSize=1 \
    --labels '{"addOrUpdateLabels":{"plimsoll.dev/pool":"bought"}}' \
    --taints '{"addOrUpdateTaints":[{"effect":"NO_SCHEDULE","key":"nvidia.com/gpu","value":"present"}]}' \
    --output text \
    >/dev/null
else
  echo "making node group $name"
  aws eks create-nodegroup \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name" \
    --node-role "$EKS_NODE_ROLE" \
    --subnets "${subnets[@]}" \
    --ami-type AL2023_x86_64_NVIDIA \
    --capacity-type "$capacity" \
    --scaling-config minSize=0,maxSize=1,desiredSize=0 \
    --update-config maxUnavailable=1 \
    --labels '{"plimsoll.dev/pool":"bought"}' \
    --taints '[{"effect":"NO_SCHEDULE","key":"nvidia.com/gpu","value":"present"}]' \
    --launch-template "name=$template,version=1" \
    --output text \
    >/dev/null
  aws eks wait nodegroup-active \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name"
fi

region='eu-west-1'
cluster='inference'
read -ra subnets <<<"$EKS_SUBNETS_TURNS"

# Disk, instance metadata and reservation are the launch template's. One that is there
# is left as it is: give the pool another name to change them, and move to it.
# UserData makes the disks inside the machine one volume for images and scratch.
template='plimsoll-turns'
templates="$(aws ec2 describe-launch-templates \
  --region "$region" \
  --query 'LaunchTemplates[].LaunchTemplateName' \
  --output text)"
data='{"BlockDeviceMappings":[{"DeviceName":"/dev/xvda","Ebs":{"DeleteOnTermination":true,"Encrypted":true,"Iops":4000,"Throughput":1000,"VolumeSize":60,"VolumeType":"gp3"}}],"MetadataOptions":{"HttpEndpoint":"enabled","HttpPutResponseHopLimit":1,"HttpTokens":"required"},"UserData":"TUlNRS1WZXJzaW9uOiAxLjAKQ29udGVudC1UeXBlOiBtdWx0aXBhcnQvbWl4ZWQ7IGJvdW5kYXJ5PSJwbGltc29sbCIKCi0tcGxpbXNvbGwKQ29udGVudC1UeXBlOiBhcHBsaWNhdGlvbi9ub2RlLmVrcy5hd3MKCmFwaVZlcnNpb246IG5vZGUuZWtzLmF3cy92MWFscGhhMQpraW5kOiBOb2RlQ29uZmlnCnNwZWM6CiAgaW5zdGFuY2U6CiAgICBsb2NhbFN0b3JhZ2U6CiAgICAgIHN0cmF0ZWd5OiBSQUlEMAoKLS1wbGltc29sbC0tCg=="}'
if ! has "$template" "$templates"; then
  echo "making launch template $template"
  aws ec2 create-launch-template \
    --region "$region" \
    --launch-template-name "$template" \
    --launch-template-data "$data" \
    --output text \
    >/dev/null
fi

# Pool turns: on-demand nodes, g6.12xlarge with 4 x L4, 0 to 1 of them.
# From zero nodes the cluster autoscaler needs the right eks:DescribeNodegroup.
name='turns'
existing="$(aws eks list-nodegroups \
  --region "$region" \
  --cluster-name "$cluster" \
  --query 'nodegroups[]' \
  --output text)"
if has "$name" "$existing"; then
  echo "node group $name is there: setting its bounds, labels and taints"
  aws eks wait nodegroup-active \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name"
  aws eks update-nodegroup-config \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name" \
    --scaling-config minSize=0,maxSize=1 \
    --labels '{"addOrUpdateLabels":{"nvidia.com/device-plugin.config":"plimsoll-turns-680dc74b","plimsoll.dev/pool":"turns"}}' \
    --taints '{"addOrUpdateTaints":[{"effect":"NO_SCHEDULE","key":"nvidia.com/gpu","value":"present"}]}' \
    --output text \
    >/dev/null
else
  echo "making node group $name"
  aws eks create-nodegroup \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name" \
    --node-role "$EKS_NODE_ROLE" \
    --subnets "${subnets[@]}" \
    --ami-type AL2023_x86_64_NVIDIA \
    --capacity-type ON_DEMAND \
    --instance-types g6.12xlarge \
    --scaling-config minSize=0,maxSize=1,desiredSize=0 \
    --update-config maxUnavailable=1 \
    --labels '{"nvidia.com/device-plugin.config":"plimsoll-turns-680dc74b","plimsoll.dev/pool":"turns"}' \
    --taints '[{"effect":"NO_SCHEDULE","key":"nvidia.com/gpu","value":"present"}]' \
    --launch-template "name=$template,version=1" \
    --output text \
    >/dev/null
  aws eks wait nodegroup-active \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name"
fi

region='eu-west-1'
cluster='inference'
read -ra subnets <<<"$EKS_SUBNETS_CUT"

# Disk, instance metadata and reservation are the launch template's. One that is there
# is left as it is: give the pool another name to change them, and move to it.
# UserData makes the disks inside the machine one volume for images and scratch.
template='plimsoll-cut'
templates="$(aws ec2 describe-launch-templates \
  --region "$region" \
  --query 'LaunchTemplates[].LaunchTemplateName' \
  --output text)"
data='{"BlockDeviceMappings":[{"DeviceName":"/dev/xvda","Ebs":{"DeleteOnTermination":true,"Encrypted":true,"Iops":4000,"Throughput":1000,"VolumeSize":60,"VolumeType":"gp3"}}],"MetadataOptions":{"HttpEndpoint":"enabled","HttpPutResponseHopLimit":1,"HttpTokens":"required"},"UserData":"TUlNRS1WZXJzaW9uOiAxLjAKQ29udGVudC1UeXBlOiBtdWx0aXBhcnQvbWl4ZWQ7IGJvdW5kYXJ5PSJwbGltc29sbCIKCi0tcGxpbXNvbGwKQ29udGVudC1UeXBlOiBhcHBsaWNhdGlvbi9ub2RlLmVrcy5hd3MKCmFwaVZlcnNpb246IG5vZGUuZWtzLmF3cy92MWFscGhhMQpraW5kOiBOb2RlQ29uZmlnCnNwZWM6CiAgaW5zdGFuY2U6CiAgICBsb2NhbFN0b3JhZ2U6CiAgICAgIHN0cmF0ZWd5OiBSQUlEMAoKLS1wbGltc29sbC0tCg=="}'
if ! has "$template" "$templates"; then
  echo "making launch template $template"
  aws ec2 create-launch-template \
    --region "$region" \
    --launch-template-name "$template" \
    --launch-template-data "$data" \
    --output text \
    >/dev/null
fi

# Pool cut: on-demand nodes, p5.48xlarge with 8 x H100-80GB-SXM, 0 to 1 of them.
# From zero nodes the cluster autoscaler needs the right eks:DescribeNodegroup.
# The label nvidia.com/mig.config cuts the accelerators. When it changes, drain the nodes
# first: the accelerators are reset, and what runs on them is lost.
name='cut'
existing="$(aws eks list-nodegroups \
  --region "$region" \
  --cluster-name "$cluster" \
  --query 'nodegroups[]' \
  --output text)"
if has "$name" "$existing"; then
  echo "node group $name is there: setting its bounds, labels and taints"
  aws eks wait nodegroup-active \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name"
  aws eks update-nodegroup-config \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name" \
    --scaling-config minSize=0,maxSize=1 \
    --labels '{"addOrUpdateLabels":{"nvidia.com/device-plugin.config":"plimsoll-cut-f678f195","nvidia.com/mig.config":"plimsoll-cut-37f2cc79","plimsoll.dev/pool":"cut"}}' \
    --taints '{"addOrUpdateTaints":[{"effect":"NO_SCHEDULE","key":"nvidia.com/gpu","value":"present"}]}' \
    --output text \
    >/dev/null
else
  echo "making node group $name"
  aws eks create-nodegroup \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name" \
    --node-role "$EKS_NODE_ROLE" \
    --subnets "${subnets[@]}" \
    --ami-type AL2023_x86_64_NVIDIA \
    --capacity-type ON_DEMAND \
    --instance-types p5.48xlarge \
    --scaling-config minSize=0,maxSize=1,desiredSize=0 \
    --update-config maxUnavailable=1 \
    --labels '{"nvidia.com/device-plugin.config":"plimsoll-cut-f678f195","nvidia.com/mig.config":"plimsoll-cut-37f2cc79","plimsoll.dev/pool":"cut"}' \
    --taints '[{"effect":"NO_SCHEDULE","key":"nvidia.com/gpu","value":"present"}]' \
    --launch-template "name=$template,version=1" \
    --output text \
    >/dev/null
  aws eks wait nodegroup-active \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name"
fi

region='eu-west-1'
cluster='inference'
read -ra subnets <<<"$EKS_SUBNETS_CUT_MIXED"

# Disk, instance metadata and reservation are the launch template's. One that is there
# is left as it is: give the pool another name to change them, and move to it.
# UserData makes the disks inside the machine one volume for images and scratch.
template='plimsoll-cut-mixed'
templates="$(aws ec2 describe-launch-templates \
  --region "$region" \
  --query 'LaunchTemplates[].LaunchTemplateName' \
  --output text)"
data='{"BlockDeviceMappings":[{"DeviceName":"/dev/xvda","Ebs":{"DeleteOnTermination":true,"Encrypted":true,"Iops":4000,"Throughput":1000,"VolumeSize":60,"VolumeType":"gp3"}}],"MetadataOptions":{"HttpEndpoint":"enabled","HttpPutResponseHopLimit":1,"HttpTokens":"required"},"UserData":"TUlNRS1WZXJzaW9uOiAxLjAKQ29udGVudC1UeXBlOiBtdWx0aXBhcnQvbWl4ZWQ7IGJvdW5kYXJ5PSJwbGltc29sbCIKCi0tcGxpbXNvbGwKQ29udGVudC1UeXBlOiBhcHBsaWNhdGlvbi9ub2RlLmVrcy5hd3MKCmFwaVZlcnNpb246IG5vZGUuZWtzLmF3cy92MWFscGhhMQpraW5kOiBOb2RlQ29uZmlnCnNwZWM6CiAgaW5zdGFuY2U6CiAgICBsb2NhbFN0b3JhZ2U6CiAgICAgIHN0cmF0ZWd5OiBSQUlEMAoKLS1wbGltc29sbC0tCg=="}'
if ! has "$template" "$templates"; then
  echo "making launch template $template"
  aws ec2 create-launch-template \
    --region "$region" \
    --launch-template-name "$template" \
    --launch-template-data "$data" \
    --output text \
    >/dev/null
fi

# Pool cut-mixed: on-demand nodes, p5.48xlarge with 8 x H100-80GB-SXM, 0 to 1 of them.
# From zero nodes the cluster autoscaler needs the right eks:DescribeNodegroup.
# The label nvidia.com/mig.config cuts the accelerators. When it changes, drain the nodes
# first: the accelerators are reset, and what runs on them is lost.
name='cut-mixed'
existing="$(aws eks list-nodegroups \
  --region "$region" \
  --cluster-name "$cluster" \
  --query 'nodegroups[]' \
  --output text)"
if has "$name" "$existing"; then
  echo "node group $name is there: setting its bounds, labels and taints"
  aws eks wait nodegroup-active \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name"
  aws eks update-nodegroup-config \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name" \
    --scaling-config minSize=0,maxSize=1 \
    --labels '{"addOrUpdateLabels":{"nvidia.com/device-plugin.config":"plimsoll-cut-mixed-f2bcc930","nvidia.com/mig.config":"plimsoll-cut-mixed-c2aa3aa7","plimsoll.dev/pool":"cut-mixed"}}' \
    --taints '{"addOrUpdateTaints":[{"effect":"NO_SCHEDULE","key":"nvidia.com/gpu","value":"present"}]}' \
    --output text \
    >/dev/null
else
  echo "making node group $name"
  aws eks create-nodegroup \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name" \
    --node-role "$EKS_NODE_ROLE" \
    --subnets "${subnets[@]}" \
    --ami-type AL2023_x86_64_NVIDIA \
    --capacity-type ON_DEMAND \
    --instance-types p5.48xlarge \
    --scaling-config minSize=0,maxSize=1,desiredSize=0 \
    --update-config maxUnavailable=1 \
    --labels '{"nvidia.com/device-plugin.config":"plimsoll-cut-mixed-f2bcc930","nvidia.com/mig.config":"plimsoll-cut-mixed-c2aa3aa7","plimsoll.dev/pool":"cut-mixed"}' \
    --taints '[{"effect":"NO_SCHEDULE","key":"nvidia.com/gpu","value":"present"}]' \
    --launch-template "name=$template,version=1" \
    --output text \
    >/dev/null
  aws eks wait nodegroup-active \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name"
fi

region='eu-west-1'
cluster='inference'
read -ra subnets <<<"$EKS_SUBNETS_PLAIN"

# Disk, instance metadata and reservation are the launch template's. One that is there
# is left as it is: give the pool another name to change them, and move to it.
template='plimsoll-plain'
templates="$(aws ec2 describe-launch-templates \
  --region "$region" \
  --query 'LaunchTemplates[].LaunchTemplateName' \
  --output text)"
data='{"BlockDeviceMappings":[{"DeviceName":"/dev/xvda","Ebs":{"DeleteOnTermination":true,"Encrypted":true,"Iops":4000,"Throughput":1000,"VolumeSize":60,"VolumeType":"gp3"}}],"MetadataOptions":{"HttpEndpoint":"enabled","HttpPutResponseHopLimit":1,"HttpTokens":"required"}}'
if ! has "$template" "$templates"; then
  echo "making launch template $template"
  aws ec2 create-launch-template \
    --region "$region" \
    --launch-template-name "$template" \
    --launch-template-data "$data" \
    --output text \
    >/dev/null
fi

# Pool plain: on-demand nodes, no accelerators, 0 to 1 of them.
# From zero nodes the cluster autoscaler needs the right eks:DescribeNodegroup.
name='plain'
existing="$(aws eks list-nodegroups \
  --region "$region" \
  --cluster-name "$cluster" \
  --query 'nodegroups[]' \
  --output text)"
if has "$name" "$existing"; then
  echo "node group $name is there: setting its bounds, labels and taints"
  aws eks wait nodegroup-active \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name"
  aws eks update-nodegroup-config \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name" \
    --scaling-config minSize=0,maxSize=1 \
    --labels '{"addOrUpdateLabels":{"plimsoll.dev/pool":"plain"}}' \
    --output text \
    >/dev/null
else
  echo "making node group $name"
  aws eks create-nodegroup \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name" \
    --node-role "$EKS_NODE_ROLE" \
    --subnets "${subnets[@]}" \
    --ami-type AL2023_x86_64_STANDARD \
    --capacity-type ON_DEMAND \
    --instance-types "$MACHINE_PLAIN" \
    --scaling-config minSize=0,maxSize=1,desiredSize=0 \
    --update-config maxUnavailable=1 \
    --labels '{"plimsoll.dev/pool":"plain"}' \
    --launch-template "name=$template,version=1" \
    --output text \
    >/dev/null
  aws eks wait nodegroup-active \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name"
fi

region='eu-west-1'
cluster='inference'
read -ra subnets <<<"$EKS_SUBNETS"

# Disk, instance metadata and reservation are the launch template's. One that is there
# is left as it is: give the pool another name to change them, and move to it.
# UserData makes the disks inside the machine one volume for images and scratch.
template='plimsoll-open-gpus'
templates="$(aws ec2 describe-launch-templates \
  --region "$region" \
  --query 'LaunchTemplates[].LaunchTemplateName' \
  --output text)"
data='{"BlockDeviceMappings":[{"DeviceName":"/dev/xvda","Ebs":{"DeleteOnTermination":true,"Encrypted":true,"Iops":4000,"Throughput":1000,"VolumeSize":60,"VolumeType":"gp3"}}],"MetadataOptions":{"HttpEndpoint":"enabled","HttpPutResponseHopLimit":1,"HttpTokens":"required"},"UserData":"TUlNRS1WZXJzaW9uOiAxLjAKQ29udGVudC1UeXBlOiBtdWx0aXBhcnQvbWl4ZWQ7IGJvdW5kYXJ5PSJwbGltc29sbCIKCi0tcGxpbXNvbGwKQ29udGVudC1UeXBlOiBhcHBsaWNhdGlvbi9ub2RlLmVrcy5hd3MKCmFwaVZlcnNpb246IG5vZGUuZWtzLmF3cy92MWFscGhhMQpraW5kOiBOb2RlQ29uZmlnCnNwZWM6CiAgaW5zdGFuY2U6CiAgICBsb2NhbFN0b3JhZ2U6CiAgICAgIHN0cmF0ZWd5OiBSQUlEMAoKLS1wbGltc29sbC0tCg=="}'
if ! has "$template" "$templates"; then
  echo "making launch template $template"
  aws ec2 create-launch-template \
    --region "$region" \
    --launch-template-name "$template" \
    --launch-template-data "$data" \
    --output text \
    >/dev/null
fi

# Pool open-gpus: on-demand nodes, g6.xlarge with 1 x L4, 0 to 2 of them.
# From zero nodes the cluster autoscaler needs the right eks:DescribeNodegroup.
name='open-gpus'
existing="$(aws eks list-nodegroups \
  --region "$region" \
  --cluster-name "$cluster" \
  --query 'nodegroups[]' \
  --output text)"
if has "$name" "$existing"; then
  echo "node group $name is there: setting its bounds, labels and taints"
  aws eks wait nodegroup-active \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name"
  aws eks update-nodegroup-config \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name" \
    --scaling-config minSize=0,maxSize=2 \
    --labels '{"addOrUpdateLabels":{"plimsoll.dev/pool":"open-gpus"}}' \
    --taints '{"addOrUpdateTaints":[{"effect":"NO_SCHEDULE","key":"nvidia.com/gpu","value":"present"}]}' \
    --output text \
    >/dev/null
else
  echo "making node group $name"
  aws eks create-nodegroup \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name" \
    --node-role "$EKS_NODE_ROLE" \
    --subnets "${subnets[@]}" \
    --ami-type AL2023_x86_64_NVIDIA \
    --capacity-type ON_DEMAND \
    --instance-types g6.xlarge g6.2xlarge g6.4xlarge gr6.4xlarge g6.8xlarge gr6.8xlarge g6.16xlarge \
    --scaling-config minSize=0,maxSize=2,desiredSize=0 \
    --update-config maxUnavailable=1 \
    --labels '{"plimsoll.dev/pool":"open-gpus"}' \
    --taints '[{"effect":"NO_SCHEDULE","key":"nvidia.com/gpu","value":"present"}]' \
    --launch-template "name=$template,version=1" \
    --output text \
    >/dev/null
  aws eks wait nodegroup-active \
    --region "$region" \
    --cluster-name "$cluster" \
    --nodegroup-name "$name"
fi
